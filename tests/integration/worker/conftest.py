"""
The stack of the fault trials, shared by the tests that disturb workers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from services import Service, want

sys.path.append(str(Path(__file__).parents[3]))  # where `chaos` is

if TYPE_CHECKING:
    from chaos.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """
    Services, workers and Beat that faults are done to; each trial empties them first.
    """
    want(Service.OWN_RABBITMQ)
    want(Service.OWN_POSTGRES)
    want(Service.VALKEY)
    from chaos.stack import running_stack

    with running_stack(tmp_path_factory.mktemp("chaos")) as stack:
        yield stack
