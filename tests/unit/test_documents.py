"""
The documents say what the code says: tables, rules, settings of a decision record, links.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from stopsearch.clean.rules import ethnicities, outcomes, places, times
from stopsearch.clean.rules.ethnicities import OLD_ETHNICITIES
from stopsearch.clean.rules.outcomes import OLD_OUTCOMES
from stopsearch.cli.app import app
from stopsearch.domain.states import MonthFlag, MonthState
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.settings import Settings
from stopsearch.store.tables import Base
from stopsearch.validate.contract import ALL_RULES

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *(path for part in ("docs", "src", "bench") for path in (ROOT / part).rglob("*.md"))}
)
CLEAN = ROOT / "src" / "stopsearch" / "clean"

# A folder that only one machine has. `/usr` and `/etc` are on all of them.
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:work|root|farm|home|Users|mnt|srv|tmp|opt)/[\w.-]+")


def told(name: str) -> str:
    return (DOCS / name).read_text()


def table_of(text: str, heading: str) -> list[str]:
    """
    Give the first column of the table under a heading, without its head.
    """
    section = re.split(r"^#+ ", text.split(f"\n### `{heading}`\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)


def anchors_of(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("table", Base.metadata.sorted_tables, ids=str)
def test_every_column_of_every_table_is_in_the_data_dictionary(table) -> None:  # type: ignore[no-untyped-def]
    assert table_of(told("database.md"), table.name) == [column.name for column in table.columns]


def test_the_data_dictionary_has_no_table_that_is_gone() -> None:
    headings = set(re.findall(r"^### `(\w+)`$", told("database.md"), flags=re.MULTILINE))

    assert headings - set(Base.metadata.tables) == {"stop_in_words", "stop_street"}


def test_every_rule_of_the_contract_is_in_the_notebook() -> None:
    contract = told("data/police-uk.md").split("\n## The contract\n")[1].split("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \|", contract, flags=re.MULTILINE) == [rule.name for rule in ALL_RULES]


@pytest.mark.parametrize("field", VOCABULARY)
def test_the_notebook_counts_the_labels_of_each_field(field: str) -> None:
    assert f"| `{field}_is_known` | one of {len(VOCABULARY[field])} labels" in told("data/police-uk.md")


def test_every_mend_is_in_the_notebook_by_its_name() -> None:
    code = "\n".join(path.read_text() for path in CLEAN.rglob("*.py"))
    mends = set(re.findall(r'mended(?:\[|=\{)"(\w+)"', code))
    reasons = set(re.findall(r'"((?:not|wrong|bad)_\w+)"', "\n".join(p.read_text() for p in CLEAN.glob("decode_*.py"))))
    notebook = told("data/police-uk.md")

    assert mends >= {"outcome_false", "old_outcome", "old_ethnicity", "zeroed_location"}
    assert reasons >= {"not_an_object", "wrong_column_count", "not_utf8"}
    assert {name for name in mends if f"mend **`{name}`**" not in notebook} == set()
    assert {name for name in reasons if f"`{name}`" not in notebook} == set()


@pytest.mark.parametrize("module", [ethnicities, outcomes, places, times], ids=lambda module: module.__name__)
def test_every_rule_of_cleaning_is_in_the_notebook(module) -> None:  # type: ignore[no-untyped-def]
    tree = ast.parse(Path(module.__file__).read_text())
    rules = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]

    assert rules
    assert [rule for rule in rules if f"`{rule}`" not in told("data/police-uk.md")] == []


def test_every_file_of_rules_is_looked_at() -> None:
    files = {path.stem for path in (CLEAN / "rules").glob("*.py")} - {"__init__"}

    assert files == {"ethnicities", "outcomes", "places", "times"}


@pytest.mark.parametrize("crosswalk", [OLD_ETHNICITIES, OLD_OUTCOMES], ids=["ethnicities", "outcomes"])
def test_the_crosswalks_are_in_the_notebook(crosswalk: dict[str, str]) -> None:
    notebook = told("data/police-uk.md")

    assert [old for old, new in crosswalk.items() if f"| {old} | {new}" not in notebook] == []


def test_every_state_and_flag_is_in_the_glossary() -> None:
    glossary = (ROOT / "GLOSSARY.md").read_text()

    assert [word for word in (*MonthState, *MonthFlag) if f"`{word}`" not in glossary] == []


@pytest.mark.parametrize("record", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_record_has_its_parts(record: Path) -> None:
    text = record.read_text()
    parts = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)

    assert parts == ["Context", "Decision", "Consequences", "Alternatives", "References"]
    assert re.match(rf"# {int(record.stem[:4])}\. \w", text)
    assert len(text.split()) < 900, "a decision record is one page"


def test_every_decision_record_is_in_the_index() -> None:
    index = told("decisions/README.md")

    assert re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index) == [record.name for record in DECISIONS]


def test_every_document_is_in_the_index() -> None:
    index = told("README.md")
    here = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path not in DECISIONS} - {"README.md"}

    assert here - set(re.findall(r"\]\(([\w/.-]+\.md)\)", index)) == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_of_the_source_tree_exist(document: Path) -> None:
    """
    A file that was renamed is renamed in the documents too.
    """
    named = re.findall(r"`((?:src/stopsearch|tests|tools|docs|bench)/[\w/.-]+|\w+/\w+\.py)`", document.read_text())
    roots = (ROOT, ROOT / "src" / "stopsearch")

    assert [path for path in named if not any((root / path).exists() for root in roots)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_names_a_folder_of_one_machine(document: Path) -> None:
    assert MACHINE_PATH.findall(document.read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"\bSTOPSEARCH_([A-Z_]+[A-Z])\b", document.read_text()))
    # Read by the settings' own reader, or by the tests alone.
    others = {"SECRETS_DIR", "SHARED_DATA", "KILLS"}
    others |= {f"TEST_{name}" for name in ("DATABASE_URL", "BROKER_URL", "REDIS_URL", "REQUIRE_SERVICES")}

    assert {name.lower() for name in named - others} - set(Settings.model_fields) == set()


def test_no_file_of_the_project_names_the_place_where_it_was_made() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    place = re.compile(rb"(?<![\w.~/-])/(?:work|root|farm)/[\w.-]+")
    # This file names them to look for them; the tests of the embedded server name root's home on purpose.
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name and not name.startswith("tests/")]
    found = [
        str(path) for path in files if path.is_file() and path.suffix != ".zip" and place.search(path.read_bytes())
    ]

    assert found == []


def calls_in(text: str) -> list[str]:
    """
    Give every call of the command line that a text names, in code or in a block of it.
    """
    code = re.findall(r"`([^`\n]+)`", without_code(text))
    code += [line for block in re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()]
    found = [re.search(r"(?:^|uv run |^\s+)stopsearch ([a-z].*)", part) for part in code]
    # What a quickstart shows as hints has its explanation two blanks further on.
    return [re.split(r"\s{2,}|#| \| | > |…", match[1])[0].strip() for match in found if match]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_call_of_the_command_line_can_be_made(document: Path) -> None:
    wrong = []
    for call in calls_in(document.read_text()):
        command: Any = get_command(app)
        words = call.split()
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        is_group = hasattr(command, "commands")
        if (is_group and words) or not {
            w.partition("=")[0] for w in words if w.startswith("-") and w != "-"
        } <= options:
            wrong.append(call)

    assert wrong == []


def test_every_command_is_named_somewhere() -> None:
    """
    In the README, or in the page that it belongs to.
    """
    named = {call.split()[0] for document in DOCUMENTS for call in calls_in(document.read_text())}

    assert set(get_command(app).commands) - named == set()  # type: ignore[attr-defined]
