"""
What a request for an ingestion says, and what is answered of batches and their runs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, RunStatus, Source
from stopsearch.flows.asked_batches import AskedIngest, AskedReplay
from stopsearch.flows.plan import Wanted
from stopsearch.store.batch_reports import BatchEntry, RunEntry

_ForceId = Annotated[str, Field(max_length=40)]
_MonthText = Annotated[str, Field(max_length=7, description="A month, YYYY-MM.", examples=["2024-03"])]
_ArchiveName = Annotated[str, Field(max_length=255)]
_Rule = Annotated[str, Field(max_length=100, pattern=r"^[a-z][a-z0-9_]*$")]
# Numbers in the database have 32 bits.
RowId = Annotated[int, Field(ge=1, le=2**31 - 1)]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2024-03-01T12:30:00+00:00"])]


class IngestionRequest(BaseModel):
    """
    What is to be brought in. Left out, `forces` are those of the server's settings, or all; months are all.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"forces": ["durham", "kent"], "from": "2024-01", "to": "2024-03"}]},
    )

    forces: list[_ForceId] = Field(default=[], max_length=100, description="Ids of forces.")
    first: _MonthText | None = Field(default=None, alias="from")
    last: _MonthText | None = Field(default=None, alias="to")
    source: Literal["api", "archive"] = Field(default="api", description="The publisher's API, or archives.")
    archives: list[_ArchiveName] = Field(
        default=[], max_length=100, description="Names of files in the server's folder of archives, without a path."
    )
    recheck: bool = Field(default=False, description="Look again at months that are held, for revisions.")

    def as_asked(self) -> AskedIngest:
        """
        Give it as the flows take it.

        Raises:
            BadMonth: A month is none.
        """
        wanted = Wanted(
            forces=tuple(dict.fromkeys(self.forces)),
            first=Month.parse(self.first) if self.first is not None else None,
            last=Month.parse(self.last) if self.last is not None else None,
            recheck=self.recheck,
        )
        return AskedIngest(wanted=wanted, source=Source(self.source), archives=tuple(dict.fromkeys(self.archives)))


class ReplayRequest(BaseModel):
    """
    Which open dead letters are to be replayed: those that all of it holds for. Left out, every one.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"force": "durham", "month": "2024-03"}]},
    )

    force: _ForceId | None = Field(default=None, description="A force's id.")
    month: _MonthText | None = None
    rule: _Rule | None = Field(default=None, description="The name of a rule that they broke.")
    ids: list[RowId] | None = Field(default=None, min_length=1, max_length=1000, description="Numbers of letters.")

    def as_asked(self) -> AskedReplay:
        """
        Give it as the flows take it.

        Raises:
            BadMonth: The month is none.
        """
        return AskedReplay(
            force=self.force,
            month=Month.parse(self.month) if self.month is not None else None,
            rule=self.rule,
            ids=tuple(dict.fromkeys(self.ids)) if self.ids is not None else None,
        )


class Trouble(BaseModel):
    """
    What went wrong: its kind, for programs, and what it was and what to do, for people.
    """

    kind: str
    text: str


class Progress(BaseModel):
    """
    How far a batch is: of how many force-months (null while that is not known) so many are done with.
    """

    force_months: int | None
    ended: int


class Links(BaseModel):
    """
    Where a batch is looked at, followed and cancelled.
    """

    self: str
    events: str
    cancel: str


class BatchAnswer(BaseModel):
    """
    One batch: the runs that one trigger asked for.
    """

    id: int
    status: BatchStatus
    trigger: str = Field(description="What started it: `http`, or a command by its name.")
    requested_by: str
    is_alive: bool = Field(description="Whether a process, or the workers, run it now.")
    is_distributed: bool = Field(description="Whether workers run it, and not the server.")
    note: str | None = Field(description="What it waits for, where that is not plain.")
    cancel_asked_at: Instant | None = Field(description="When somebody asked for its end.")
    asked_for: dict[str, Any]
    asked_at: Instant
    started_at: Instant | None
    ended_at: Instant | None
    progress: Progress
    run_counts: dict[RunStatus, int] = Field(description="How many runs stand in which way.")
    error: Trouble | None = Field(description="What ended it as a whole, say a publisher out of reach.")
    refused: list[str] = Field(description="The first archives and members that were refused by name, and why.")
    refused_count: int
    links: Links


class RunAnswer(BaseModel):
    """
    One run: one attempt to bring one force-month in. Counts are null where it came to none.
    """

    id: int
    force: str
    month: str
    source: Source
    attempt: int
    status: RunStatus
    revision: int | None
    received: int | None
    stored: int | None
    rejected: int | None
    added: int | None
    withdrawn: int | None
    origin: str | None
    error: Trouble | None
    started_at: Instant
    ended_at: Instant | None


class BatchWithRuns(BatchAnswer):
    """
    One batch with a page of its runs, in the order in which they began.
    """

    runs: list[RunAnswer]


class OneBatch(BaseModel):
    """
    The batch that was asked for.
    """

    data: BatchAnswer


class Batches(BaseModel):
    """
    A page of batches, the newest first; `next` is the address of older ones.
    """

    data: list[BatchAnswer]
    next: str | None


class OneBatchWithRuns(BaseModel):
    """
    A batch and a page of its runs; `next` is the address of those that began later.
    """

    data: BatchWithRuns
    next: str | None


def batch_answer(entry: BatchEntry, *, at: str) -> BatchAnswer:
    """
    Shape one batch.

    Args:
        at: The address of all batches.
    """
    return BatchAnswer(
        id=entry.id,
        status=entry.status,
        trigger=entry.trigger,
        requested_by=entry.requested_by,
        is_alive=entry.is_alive,
        is_distributed=entry.is_distributed,
        note=_note(entry),
        cancel_asked_at=_iso(entry.cancel_asked_at),
        asked_for=entry.asked_for,
        asked_at=entry.asked_at.isoformat(),
        started_at=_iso(entry.started_at),
        ended_at=_iso(entry.ended_at),
        progress=Progress(force_months=entry.force_months, ended=entry.ended),
        run_counts=entry.runs,
        error=Trouble(**entry.error) if entry.error else None,
        refused=entry.refused,
        refused_count=entry.refused_count,
        links=Links(self=f"{at}/{entry.id}", events=f"{at}/{entry.id}/events", cancel=f"{at}/{entry.id}/cancel"),
    )


def run_answer(entry: RunEntry) -> RunAnswer:
    """
    Shape one run.
    """
    error = Trouble(kind=entry.error_kind, text=entry.error_text or "") if entry.error_kind else None
    return RunAnswer(
        id=entry.id,
        force=entry.force,
        month=entry.month,
        source=entry.source,
        attempt=entry.attempt,
        status=entry.status,
        revision=entry.revision,
        received=entry.received,
        stored=entry.stored,
        rejected=entry.rejected,
        added=entry.added,
        withdrawn=entry.withdrawn,
        origin=entry.origin,
        error=error,
        started_at=entry.started_at.isoformat(),
        ended_at=_iso(entry.ended_at),
    )


def _note(entry: BatchEntry) -> str | None:
    if entry.status is BatchStatus.RUNNING and entry.cancel_asked_at is not None:
        return "It is being cancelled: what is being stored is finished first."
    if entry.status is BatchStatus.QUEUED and entry.is_distributed and entry.sent_at is None:
        return "It waits for RabbitMQ, which did not answer: Beat tells workers of it once it is back."
    return None


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant is not None else None
