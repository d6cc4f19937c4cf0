"""
The page on the client shows what happens: its examples are run in their order, and print what stands below them.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[3] / "docs" / "client.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def test_examples_print_what_the_page_says(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = EXAMPLE.findall(PAGE.read_text())
    assert len(examples) >= 9
    names: dict[str, Any] = {}
    printed = []
    for code, told in examples:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(code.replace("http://127.0.0.1:8000", url), str(PAGE), "exec"), names)
        # What prints a whole table, say, is not shown on the page.
        printed.append(said.getvalue() if told else "")
    names["client"].close()
    assert printed == [told for _, told in examples]
