"""
Every error that stopsearch raises on purpose, and how each kind is treated.

    StopSearchError
    ├── SourceError
    │   ├── SourceUnavailable      (Transient)  the publisher did not answer usefully in time
    │   ├── UpstreamDown           (Transient)  the circuit breaker is open: nobody knocked
    │   ├── MonthNotPublished                   expected: outside the window, or nothing listed
    │   ├── SourceShapeChanged     (Terminal)   a column is gone, or the body is no list of stops
    │   ├── MemberRefused          (Terminal)   one member of an archive cannot be trusted
    │   └── ArchiveRefused         (Terminal)   a whole archive cannot be opened or trusted
    ├── MonthRefused               (Terminal)   too large a share of a month's records was rejected
    ├── StoreError
    │   ├── StoreUnavailable       (Transient)  the database is away
    │   ├── SchemaOutOfDate        (Terminal)   migrations have not been run
    │   └── RunAlreadyActive                    another process is bringing this force-month in
    ├── RequestError                            what was asked for can't be meant
    │   ├── UnknownForce · MonthOutOfRange · BadMonth · BadPath · UnknownRevision · BodyGone · ...
    ├── BrokerUnavailable          (Transient)  RabbitMQ is away: nothing can be sent to workers
    ├── AccessRefused                           over HTTP: no token, or what needs one is off
    │   └── AccessOff · TokenRefused
    ├── ServerBusy                 (Transient)  as many are served as may be at once
    └── ConfigError                (Terminal)   a setting can't be used

`Transient` trouble is retried, bounded in tries and time. `Terminal` trouble ends the run at once: a retry
cannot help. One bad record is neither: it is a `Rejection` value and becomes a dead letter.
"""

from __future__ import annotations


class StopSearchError(Exception):
    """
    Base of all errors raised on purpose: a message for people, and a remedy that says what to do next.
    """

    kind = "error"
    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class Transient(StopSearchError):
    """
    A mark: trouble that may pass. Retry with backoff, bounded in tries and in time.
    """


class Terminal(StopSearchError):
    """
    A mark: trouble that a retry cannot help.
    """


class SourceError(StopSearchError):
    """
    Something is wrong with the publisher's side, or on the way to it.
    """

    kind = "source"
    exit_code = 4


class SourceUnavailable(SourceError, Transient):
    """
    The publisher did not give a usable answer: refused, failed, timed out, cut off, or not JSON.
    """

    kind = "source_unavailable"

    def __init__(
        self, message: str, *, remedy: str = "", status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.retry_after_s = retry_after_s


class UpstreamDown(SourceError, Transient):
    """
    The circuit breaker is open: the publisher has failed repeatedly, and is not asked until the pause is over.
    """

    kind = "upstream_down"


class MonthNotPublished(SourceError):
    """
    The publisher lists nothing for this force and month, or the month lies outside its window. Expected.
    """

    kind = "month_not_published"


class SourceShapeChanged(SourceError, Terminal):
    """
    A whole column is gone, or the body is not a list of stops: nothing in this month can be trusted.
    """

    kind = "source_shape_changed"


class MemberRefused(SourceError, Terminal):
    """
    One member of an archive cannot be trusted (damaged, too large, wrong name or path). The rest goes on.
    """

    kind = "member_refused"


class ArchiveRefused(SourceError, Terminal):
    """
    A whole archive cannot be opened or trusted.
    """

    kind = "archive_refused"


class MonthRefused(Terminal):
    """
    More of the month's records were rejected than the set share: the run fails whole, the last revision stays.
    """

    kind = "month_refused"
    exit_code = 5


class StoreError(StopSearchError):
    """
    Something is wrong with the database.
    """

    kind = "store"
    exit_code = 6


class StoreUnavailable(StoreError, Transient):
    """
    The database cannot be reached, or went away.
    """

    kind = "store_unavailable"


class SchemaOutOfDate(StoreError, Terminal):
    """
    The database has no schema, or an older one than this code needs.
    """

    kind = "schema_out_of_date"


class QueryTooSlow(StoreError, Transient):
    """
    A question took longer than the statement timeout allows.
    """

    kind = "query_too_slow"


class RunAlreadyActive(StoreError):
    """
    Another process is bringing this force-month in: it has the lock, and this run leaves.
    """

    kind = "run_already_active"


class RequestError(StopSearchError):
    """
    What was asked for can't be meant.
    """

    kind = "request"
    exit_code = 2


class UnknownForce(RequestError):
    """
    No police force has this id.
    """

    kind = "unknown_force"


class BadMonth(RequestError):
    """
    Not a month written YYYY-MM.
    """

    kind = "bad_month"


class MonthOutOfRange(RequestError):
    """
    A month range that holds nothing: it starts after it ends, or lies in the future.
    """

    kind = "month_out_of_range"


class BadQuery(RequestError):
    """
    A parameter of a query that nobody knows, or a value of one that can't be meant.
    """

    kind = "bad_query"

    def __init__(self, message: str, *, remedy: str = "", faults: tuple[tuple[str, str, str], ...] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.faults = faults  # each parameter, its value and what is wrong with it


class BadCursor(BadQuery):
    """
    A cursor that was not given out for this query, or was changed since.
    """

    kind = "bad_cursor"


class UnknownSnapshot(RequestError):
    """
    No snapshot that was ever given out has this id.
    """

    kind = "unknown_snapshot"


class UnknownStop(RequestError):
    """
    No stop has this id.
    """

    kind = "unknown_stop"


class UnknownBatch(RequestError):
    """
    No batch has this number.
    """

    kind = "unknown_batch"


class BatchEnded(RequestError):
    """
    The batch that is to be cancelled has ended.
    """

    kind = "batch_ended"


class UnknownLetter(RequestError):
    """
    No dead letter has this number.
    """

    kind = "unknown_letter"


class RateRefused(RequestError):
    """
    A rate or a ratio that would mislead: no residents, too few stops, or a gap in what was asked for.
    """

    kind = "rate_refused"

    def __init__(self, message: str, *, remedy: str = "", faults: tuple[tuple[str, str, str], ...] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.faults = faults  # each parameter, its value and why nothing is given for it


class BadPath(RequestError):
    """
    A file or folder that is not there, or is not what was asked for.
    """

    kind = "bad_path"


class UnknownRevision(RequestError):
    """
    The force-month has no revision of this number.
    """

    kind = "unknown_revision"


class BodyGone(RequestError):
    """
    The kept body that was asked for has been pruned, so what rests on it can't be rebuilt.
    """

    kind = "body_gone"


class AccessRefused(StopSearchError):
    """
    Whoever asks over HTTP may not do this.
    """

    kind = "access_refused"
    exit_code = 2


class AccessOff(AccessRefused):
    """
    What needs a token is off, since the server was given none.
    """

    kind = "access_off"


class TokenRefused(AccessRefused):
    """
    No bearer token was given, or another than the server's.
    """

    kind = "token_refused"


class ServerBusy(Transient):
    """
    As many are served already as may be at once. The same request will be answered later.
    """

    kind = "server_busy"

    def __init__(self, message: str, *, remedy: str = "", retry_after_s: int = 5) -> None:
        super().__init__(message, remedy=remedy)
        self.headers = {"Retry-After": str(retry_after_s)}


class BrokerUnavailable(Transient):
    """
    RabbitMQ does not answer. What was asked for is in the ledger, and is sent once it is back.
    """

    kind = "broker_unavailable"
    exit_code = 6


class ConfigError(Terminal):
    """
    A setting can't be used.
    """

    kind = "config"
    exit_code = 3
