"""
Settings are read as people write them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from stopsearch.domain.errors import ConfigError
from stopsearch.settings import read_settings

pytestmark = pytest.mark.unit


def test_data_folder_may_begin_with_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    In a `.env` file no shell expands it.
    """
    Path(".env").write_text("STOPSEARCH_DATA_DIR=~/stops\n", encoding="utf-8")
    assert read_settings().data_dir == Path.home() / "stops"
    monkeypatch.setenv("STOPSEARCH_DATA_DIR", "stops")
    assert read_settings().data_dir == Path.cwd() / "stops"


def test_what_is_wrong_is_said_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPSEARCH_FORCES", "Kent")
    with pytest.raises(ConfigError) as caught:
        read_settings()
    assert "Value error" not in caught.value.message
    assert ".." not in caught.value.message
