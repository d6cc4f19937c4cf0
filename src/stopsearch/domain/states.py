"""
What can be said of a force-month, a run, a batch, a revision and a dead letter: one enum each, for every door.
"""

from __future__ import annotations

from enum import StrEnum


class MonthState(StrEnum):
    """
    The state of one force-month. "Not held" has five kinds, and none of them means zero stops.
    """

    HELD = "held"  # a revision is current
    DUE = "due"  # listed by the publisher, not yet fetched
    EMPTY = "empty"  # listed, but the publisher answered with no record: not zero stops
    FAILED = "failed"  # the last run failed on the way, nothing is held
    REFUSED = "refused"  # too many of its records were rejected, nothing is held
    NOT_LISTED = "not_listed"  # inside the publisher's window, but not listed for this force
    OUT_OF_WINDOW = "out_of_window"  # older than what the publisher still serves, and not held


class MonthFlag(StrEnum):
    """
    What a reader of a force-month should know beside its state.
    """

    RESTATED = "restated"  # the publisher changed it after it was first held
    DOUBLED = "doubled"  # every distinct record occurs an even number of times
    DATE_ONLY = "date-only"  # the force gave dates without times
    DOUBTFUL = "doubtful"  # held, but what the publisher gave since had no record, or had to be refused


class Shape(StrEnum):
    """
    The two shapes in which the publisher gives a month.
    """

    JSON = "json"  # an answer of /stops-force
    CSV = "csv"  # a stop-and-search member of an archive


class Source(StrEnum):
    """
    Where a force-month came from.
    """

    API = "api"
    ARCHIVE = "archive"
    KEPT = "kept"  # a body that the database has kept


class Cause(StrEnum):
    """
    Why a revision was made.
    """

    UPSTREAM = "upstream"  # the publisher's content is new or changed
    RULES = "rules"  # our own rules changed, and the kept body was processed again
    REPLAY = "replay"  # dead letters passed today's rules
    REVERT = "revert"  # an operator took a revision back


class Standing(StrEnum):
    """
    Whether a revision's rows were ever served.
    """

    SERVED = "served"  # it is, or was, what readers saw
    HISTORIC = "historic"  # an edition older than the current one that arrived late: kept, never served


class RunStatus(StrEnum):
    """
    How one run stands: one attempt to bring one force-month in.
    """

    QUEUED = "queued"
    RUNNING = "running"
    REVISED = "revised"  # it made a revision
    UNCHANGED = "unchanged"  # the content is what is held already
    HISTORIC = "historic"  # it kept an edition older than the current one
    EMPTY = "empty"  # the publisher answered with no record
    BUSY = "busy"  # another process has the force-month; the batch queues it again
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"  # the batch ended before the run began, or while it ran


class BatchStatus(StrEnum):
    """
    How a batch stands: the runs that one trigger asked for.
    """

    QUEUED = "queued"  # asked for, and not begun: a server begins it, also after a restart
    RUNNING = "running"
    FINISHED = "finished"  # every run ended well
    FINISHED_WITH_FAILURES = "finished_with_failures"
    CANCELLED = "cancelled"


class LetterState(StrEnum):
    """
    What became of a dead letter.
    """

    OPEN = "open"
    REPLAYED = "replayed"  # its record passed today's rules and is a stop now
    DISMISSED = "dismissed"  # an operator decided that it stays rejected
    SUPERSEDED = "superseded"  # a later revision replaced it
