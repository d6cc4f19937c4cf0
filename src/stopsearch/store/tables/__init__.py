"""
The tables, as SQLAlchemy models: what one row of each is, and the constraints that keep the laws.

Forces, months and revisions are referred to by (`force_code`, `month`, `number`), where a month is its first day.
"""

from stopsearch.store.tables.base import Base
from stopsearch.store.tables.ledger import (
    BatchMonth,
    CallBudget,
    DeadLetter,
    IngestBatch,
    IngestRun,
    Revision,
    ScheduleSlot,
)
from stopsearch.store.tables.publication import (
    Force,
    Listing,
    MonthRelease,
    OperationName,
    PublishedBody,
    Street,
    Vocabulary,
)
from stopsearch.store.tables.serving import Population, ServerKey, Serving, Snapshot
from stopsearch.store.tables.stops import Stop, StopCount, StopTotal

__all__ = [
    "Base",
    "BatchMonth",
    "CallBudget",
    "DeadLetter",
    "Force",
    "IngestBatch",
    "IngestRun",
    "Listing",
    "MonthRelease",
    "OperationName",
    "Population",
    "PublishedBody",
    "Revision",
    "ScheduleSlot",
    "ServerKey",
    "Serving",
    "Snapshot",
    "Stop",
    "StopCount",
    "StopTotal",
    "Street",
    "Vocabulary",
]
