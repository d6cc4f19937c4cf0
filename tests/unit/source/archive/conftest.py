"""
Zips and folders in the publisher's layout, right and wrong.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stopsearch.source.archive.editions import Archive, Archives
from stopsearch.source.archive.open_archives import open_archives

MAX_BYTES = 16 * 1024 * 1024
NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)


@pytest.fixture
def opened() -> Callable[..., Archives]:
    """
    Open paths as the flow does.
    """

    def call(*paths: Path | str, **options: Any) -> Archives:
        return open_archives([str(path) for path in paths], **{"now": NOW, "member_max_bytes": MAX_BYTES, **options})

    return call


@pytest.fixture
def opened_one(opened: Callable[..., Archives]) -> Callable[..., Archive]:
    """
    Open paths that are one snapshot.
    """

    def call(*paths: Path | str, **options: Any) -> Archive:
        (archive,) = opened(*paths, **options)
        return archive

    return call


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[..., Path]:
    """
    Write a zip of the given members.
    """

    def call(members: Mapping[str, bytes], name: str = "2020-02.zip", method: int = zipfile.ZIP_DEFLATED) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", method) as archive:
            for member, body in members.items():
                archive.writestr(member, body)
        return path

    return call
