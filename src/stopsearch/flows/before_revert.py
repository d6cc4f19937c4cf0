"""
Say what a revert would do, before anybody is asked whether it is meant.
"""

from __future__ import annotations

from stopsearch.domain.errors import RequestError
from stopsearch.domain.months import Month
from stopsearch.flows.plan import Wanted, check_wanted
from stopsearch.flows.rebuild import edition_before
from stopsearch.store.database import Database
from stopsearch.store.forces import known_forces
from stopsearch.store.kept_editions import KeptEdition, editions_of
from stopsearch.store.ledger import is_batch

# The numbers that PostgreSQL's integer columns can hold.
_LARGEST_NUMBER = 2**31 - 1


def edition_to_go_back_to(database: Database, force: str, month: Month, *, to: int | None = None) -> KeptEdition:
    """
    Choose the edition that a revert of a force-month makes current again.

    Args:
        to: The number of its revision; None: the one served before the current content.

    Raises:
        UnknownForce: Nobody knows the force.
        UnknownRevision: There is no such revision, or none before.
    """
    with database.connect(autocommit=True) as connection:
        check_wanted(Wanted(forces=(force,)), forces=known_forces(connection), window=None)
        return edition_before(editions_of(connection, force, month), to=to)


def check_batch(database: Database, batch_id: int) -> None:
    """
    Make sure that there is a batch of this number.

    Raises:
        RequestError: There is none.
    """
    with database.connect(autocommit=True) as connection:
        if not (0 < batch_id <= _LARGEST_NUMBER and is_batch(connection, batch_id)):
            raise RequestError(
                f"There is no batch {batch_id}.",
                remedy="'stopsearch status' tells the last one; 'stopsearch revisions list --json' tells each "
                "revision's.",
            )
