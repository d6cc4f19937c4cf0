"""
The bundled sample of real published stops: where its files are. What they are is told in its README.md.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def sample_folder() -> Path:
    """
    Give the folder of the sample's files. A wheel is installed unpacked, so it is a real folder.
    """
    return Path(str(files(__name__)))


def sample_archives() -> tuple[Path, Path]:
    """
    Give the sample's two archives: the edition of spring 2020, then that of December 2021 that restates it.
    """
    return sample_folder() / "2020-02.zip", sample_folder() / "2021-11.zip"


def sample_answers() -> tuple[Path, ...]:
    """
    Give the recorded API answers, gzipped, named `stops-force_<force>_<YYYY-MM>.json.gz`.
    """
    return tuple(sorted((sample_folder() / "api").glob("stops-force_*.json.gz")))
