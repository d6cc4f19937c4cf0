"""
Whether this server can answer, looked at no more than once a second, however many ask.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache
from time import monotonic
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from stopsearch.domain.errors import SchemaOutOfDate, StopSearchError, StoreUnavailable
from stopsearch.serve.answer_cache import AnswerCache
from stopsearch.serve.ingestion_runner import IngestionRunner
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.store.migrate import newest_revision
from stopsearch.store.reader import configure_reader_async, reading_conninfo

# How long what was seen counts as how it is.
_FRESH_S = 1.0
_PATIENCE_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """
    What was seen of the server when it could answer.
    """

    migration: str
    reads_as: str  # the database's user whom answers are read by
    redis: str  # off, ready or away
    ingestions: str  # running or stopped

    @property
    def is_degraded(self) -> bool:
        """
        Tell whether it answers, but not as well as it should.
        """
        return self.redis == "away" or self.ingestions == "stopped"


class Readiness:
    """
    Looks at what a server needs: the database, its migrations, Redis where it is configured, and the runner of batches.

    A connection of its own is made each time: that the pools are busy with questions is no reason to be taken away.
    """

    def __init__(
        self, database: Database, settings: Settings, *, answers: AnswerCache | None, runner: IngestionRunner | None
    ) -> None:
        self._database = database
        self._settings = settings
        self._answers = answers
        self._runner = runner
        self._looking = asyncio.Lock()
        self._seen: Seen | StopSearchError | None = None
        self._seen_at = 0.0

    async def look(self) -> Seen:
        """
        Give what was seen, a second ago at most.

        Raises:
            StoreUnavailable: The database does not answer.
            SchemaOutOfDate: It lacks migrations, or is newer than this code.
        """
        async with self._looking:
            if self._seen is None or monotonic() - self._seen_at >= _FRESH_S:
                self._seen = await self._look()
                self._seen_at = monotonic()
            seen = self._seen
        if isinstance(seen, StopSearchError):
            raise seen.with_traceback(None)
        return seen

    async def _look(self) -> Seen | StopSearchError:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                migration, reads_as = await self._ask_database()
        except (psycopg.OperationalError, TimeoutError):
            # Where it is and why it is away is for the operator, who has it in the log of whatever failed by it.
            return StoreUnavailable("The database does not answer.", remedy="See that it runs.")
        except psycopg.errors.UndefinedTable:
            migration, reads_as = "none", ""
        except psycopg.Error as error:
            return StoreUnavailable(
                f"The database refuses to say which migration it is at ({type(error).__name__}).",
                remedy="Let an administrator look at the rights of the user who reads.",
            )
        if migration != needed_migration():
            return SchemaOutOfDate(
                f"The database is at migration {migration}, and this server needs {needed_migration()}.",
                remedy="Run 'stopsearch db migrate', with the version of stopsearch that serves.",
            )
        return Seen(
            migration=migration,
            reads_as=reads_as,
            redis=await self._answers.ping() if self._answers else "off",
            ingestions="stopped" if self._runner and not self._runner.is_running else "running",
        )

    async def _ask_database(self) -> tuple[str, str]:
        conninfo = make_conninfo(reading_conninfo(self._database, self._settings), application_name="stopsearch-health")
        async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await configure_reader_async(connection, self._settings)
            row = await (
                await connection.execute("SELECT (SELECT max(version_num) FROM alembic_version), current_user")
            ).fetchone()
        values: tuple[Any, ...] = row or (None, "")
        return str(values[0] or "none"), str(values[1])


@cache
def needed_migration() -> str:
    """
    Give the migration that this code needs; it is read from its files once.
    """
    return newest_revision()
