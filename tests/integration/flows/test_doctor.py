"""
Doctor finds what is broken, names it, and finds nothing where nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from builders.ingests import bring_in, edition, ingest_archives, settings_for
from builders.source_bodies import api_record, json_body
from builders.standin import running_standin
from stopsearch.domain.errors import ConfigError
from stopsearch.flows.doctor import Finding, Verdict, doctor, examine_database
from stopsearch.flows.plan import Wanted
from stopsearch.sample import sample_archives
from stopsearch.settings import Settings
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    found = {finding.check: finding for finding in findings}
    assert len(found) == len(findings)
    return found


def reading(**settings: object) -> Callable[[], Settings]:
    return lambda: settings_for(**settings)  # type: ignore[arg-type]  # any setting


def test_finds_nothing_where_nothing_is_wrong(database: Database, database_url: str) -> None:
    odd = api_record(gender="Unheard of")
    bring_in(database, edition(json_body(api_record(), odd)))
    ingest_archives(database, *sample_archives(), wanted=Wanted(forces=("durham",)))
    findings = by_check(doctor(read=reading(database_url=SecretStr(database_url))))
    assert [finding for finding in findings.values() if finding.verdict is not Verdict.OK] == []
    assert list(findings) == [
        "python",
        "packages",
        "settings",
        "database",
        "schema",
        "vocabulary",
        "labels",
        "conservation",
        "revisions",
        "bodies",
        "batches",
    ]


@pytest.mark.parametrize(
    ("check", "harm"),
    [
        ("conservation", "DELETE FROM stop WHERE id = (SELECT min(id::text)::uuid FROM stop)"),
        ("conservation", "UPDATE stop_count SET stops = stops + 1 WHERE ctid = (SELECT min(ctid) FROM stop_count)"),
        ("conservation", "DELETE FROM dead_letter"),
        ("conservation", "DELETE FROM stop"),
        ("labels", "UPDATE stop SET gender_code = 99"),
        ("vocabulary", "UPDATE vocabulary SET label = 'Mail' WHERE label = 'Male'"),
        ("vocabulary", "DELETE FROM vocabulary WHERE label = 'Male'"),
        ("vocabulary", "INSERT INTO vocabulary VALUES ('gender', 4, 'New')"),
        ("revisions", "UPDATE month_release SET current_revision = NULL, state = 'due'"),
        ("bodies", "DELETE FROM published_body"),
        ("batches", "UPDATE ingest_batch SET status = 'running'"),
        ("schema", "UPDATE alembic_version SET version_num = '0000'"),
        ("schema", "ALTER TABLE dead_letter DROP COLUMN reason CASCADE"),
    ],
)
def test_names_what_is_broken(database: Database, check: str, harm: str) -> None:
    bring_in(database, edition(json_body(api_record(), api_record(gender="Unheard of"))))
    with database.connect() as connection:
        connection.execute("SET session_replication_role = replica")  # so that no foreign key prevents the harm
        connection.execute(harm)  # type: ignore[arg-type]  # of this file
    findings = by_check(examine_database(database))
    assert findings[check].verdict is (Verdict.WARN if check == "batches" else Verdict.FAIL)
    assert findings[check].remedy
    others = {name for name, finding in findings.items() if finding.verdict is not Verdict.OK}
    assert others == {check}
    if check in ("conservation", "labels", "revisions", "bodies"):
        assert "durham 2023-07" in findings[check].message


def test_what_somebody_added_is_told_and_no_fault(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    with database.connect() as connection:
        connection.execute("CREATE INDEX by_somebody ON stop (gender_code)")
    found = by_check(examine_database(database))["schema"]
    assert found.verdict is Verdict.WARN
    assert "by_somebody" in found.message
    assert capsys.readouterr().out == ""


def test_names_what_looks_like_a_setting_and_is_none(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STOPSEARCH_FORCE", "durham")
    monkeypatch.setenv("STOPSEARCH_TEST_ANYTHING", "1")
    (tmp_path / ".env").write_text("STOPSEARCH_DATABSE_URL=postgresql://u:secret@127.0.0.1/x\nOTHER=1\n")
    found = by_check(doctor(read=reading(database_url=SecretStr(database_url))))["settings"]
    assert found.verdict is Verdict.WARN
    assert found.message.endswith(": STOPSEARCH_DATABSE_URL, STOPSEARCH_FORCE")
    assert found.remedy.startswith("Is STOPSEARCH_DATABASE_URL or STOPSEARCH_FORCES meant?")


def test_says_which_settings_are_wrong() -> None:
    def read() -> Settings:
        raise ConfigError("STOPSEARCH_FORCES is wrong.", remedy="Mend it.")

    last = doctor(read=read)[-1]
    assert (last.check, last.verdict, last.remedy) == ("settings", Verdict.FAIL, "Mend it.")


def test_says_that_a_database_cannot_be_reached(tmp_path: Path) -> None:
    url = SecretStr(f"postgresql://stopsearch@/nowhere?host={tmp_path}")
    last = doctor(read=reading(database_url=url), ask_upstream=True)[-1]
    assert (last.check, last.verdict) == ("database", Verdict.FAIL)
    assert "cannot be reached" in last.message


def test_says_that_there_is_no_schema(blank_database: Database) -> None:
    findings = by_check(examine_database(blank_database))
    assert findings["schema"].verdict is Verdict.FAIL
    assert "db migrate" in findings["schema"].remedy


def test_asks_the_publisher_once_when_told(database_url: str) -> None:
    with running_standin({("durham", "2023-07"): [api_record()]}) as standin:
        settings = reading(database_url=SecretStr(database_url), upstream_url=standin.url)
        assert "upstream" not in by_check(doctor(read=settings))
        found = by_check(doctor(read=settings, ask_upstream=True))["upstream"]
    assert found.verdict is Verdict.OK
    assert "2023-07" in found.message
    assert standin.stats.total == 1


def test_says_that_the_publisher_does_not_answer(database_url: str) -> None:
    found = by_check(doctor(read=reading(database_url=SecretStr(database_url)), ask_upstream=True))["upstream"]
    assert found.verdict is Verdict.FAIL
    assert found.remedy
