"""
Every setting, read once from the environment, a `.env` file or a folder of secrets: the only reader of them.
"""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, NoDecode, SettingsConfigDict

from stopsearch.domain.errors import ConfigError, UnknownForce
from stopsearch.domain.forces import parse_force_id

ENV_PREFIX = "STOPSEARCH_"

# Requests a second, by all who ask from one address (https://data.police.uk/docs/api-call-limits/).
PUBLISHERS_LIMIT = 15

# The queues of tasks. `control` plans, tends and keeps house; `daily` has the newest months, so that no backfill is
# before them.
QUEUES = ("control", "daily", "backfill", "replay")

# What is read elsewhere: the folder of secrets, and what the tests go by.
_NO_SETTINGS = ("SECRETS_DIR", "TEST_", "KILLS", "SHARED_DATA")


class Settings(BaseSettings):
    """
    One field a setting; the environment variable is its name in capitals after `STOPSEARCH_`.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="Address of a PostgreSQL 15 or newer, as postgresql://user:password@host:port/database. "
        "Without it, an embedded PostgreSQL is started in the data folder.",
    )
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("stopsearch"),
        description="Folder of the embedded database and of finished exports.",
    )
    upstream_url: str = Field(
        default="https://data.police.uk/api",
        description="Address of the publisher's API. Any other address reaches a stand-in.",
    )
    forces: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Forces to bring in, by id, separated by commas. Empty: every force that publishes.",
    )
    contact: str = Field(
        default="",
        description="An email address or web page that the publisher can reach you by; sent in the User-Agent.",
    )
    rate_per_second: float = Field(
        default=14.5,
        gt=0,
        description="Requests a second to the publisher, by all processes together. Its limit is 15; only a stand-in "
        "may be asked more often.",
    )
    requests_in_flight: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Requests that may wait for an answer at the same time, and so force-months that are in memory "
        "at once.",
    )
    request_timeout_s: float = Field(
        default=120, gt=0, description="Seconds that one answer may take; a large month can need 60."
    )
    retry_attempts: int = Field(default=6, ge=1, description="Tries of one request, the first included.")
    retry_time_s: float = Field(
        default=300,
        gt=0,
        description="Seconds after which a failing request is given up, tries left or not, and for which a publisher "
        "that is down is waited for.",
    )
    breaker_failures: int = Field(
        default=5, ge=1, description="Failures in a row after which the publisher is left alone for a while."
    )
    breaker_pause_s: float = Field(
        default=60, gt=0, description="Seconds for which a failing publisher is left alone before a probe."
    )
    refuse_share: float = Field(
        default=0.20,
        gt=0,
        le=1,
        description="Share of rejected records above which a whole month is refused.",
    )
    refuse_min_records: int = Field(
        default=20, ge=0, description="Rejected records below which a month is never refused."
    )
    recheck_after_days: float = Field(
        default=30,
        ge=0,
        description="Days after which a held month that is still listed is checked for a revision. 0: never "
        "unless --recheck is given.",
    )
    retry_empty_after_hours: float = Field(
        default=12,
        ge=0,
        description="Hours after which a listed month that came empty, was refused, or is held but in doubt since its "
        "last answer was empty or refused, is asked for again.",
    )
    body_retention_days: float | None = Field(
        default=None,
        ge=0,
        description="Days for which a kept body that no revision rests on is kept. Unset: for ever. Bodies "
        "that a revision rests on are never pruned.",
    )
    archive_member_max_mb: int = Field(
        default=256,
        ge=1,
        description="Megabytes above which a member of an archive is refused as a zip bomb.",
    )
    read_database_url: SecretStr | None = Field(
        default=None,
        description="Address of the same database for a user who can only read; what is served is read through it. "
        "Without it, reads go through the role stopsearch_reader where the database's user may take it on.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Address of a Redis, as redis://:password@host:port/0, in which costly answers are kept by "
        "snapshot, and through which all processes share the publisher's limit and the circuit breaker. Without it, "
        "or while it is away, answers are counted anew, and the limit is shared through the database.",
    )
    public_url: str | None = Field(
        default=None,
        description="Address under which people reach the server, say https://stops.example.org. Without it, links "
        "are made from the address that was asked.",
    )
    api_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Bearer token for starting and watching ingestions over HTTP. Without it they are off.",
    )
    archive_dir: Path | None = Field(
        default=None, description="Folder of archives that may be brought in over HTTP, by name. Without it, none."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose pages may read the API, separated by commas; * is any. Reading only, and "
        "without credentials. Empty: none.",
    )
    client_requests_per_s: float = Field(
        default=20,
        ge=0,
        description="Requests a second that one client may make of one server process on average. 0: no limit.",
    )
    client_burst: int = Field(default=100, ge=1, description="Requests that one client may make at once.")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks of proxies whose X-Forwarded-For tells the client, separated by commas.",
    )
    statement_timeout_s: float = Field(
        default=15, gt=0, description="Seconds that one statement for an answer may take."
    )
    read_connections: int = Field(
        default=8, ge=1, le=100, description="Connections to the database that one server process reads through."
    )
    page_cache_mb: int = Field(
        default=32, ge=0, description="Megabytes of answers that one server process keeps. 0: none."
    )
    export_streams: int = Field(default=4, ge=1, description="Exports that one server process writes at once.")
    export_stall_s: float = Field(
        default=60, gt=0, description="Seconds after which an export ends whose client reads nothing."
    )
    export_cache_mb: int = Field(
        default=2048,
        ge=0,
        description="Megabytes of finished exports that are kept in the data folder, the last used ones. 0: none.",
    )
    event_streams: int = Field(
        default=32, ge=1, description="Clients that may follow the events of ingestions at once."
    )
    broker_url: SecretStr | None = Field(
        default=None,
        description="Address of a RabbitMQ, as amqp://user:password@host:5672/vhost. With it, workers run the batches "
        "that the schedule, the API and 'ingest --distributed' ask for.",
    )
    result_url: SecretStr | None = Field(
        default=None,
        description="Address of the Redis in which results of tasks are kept for a day. Without it, that of "
        "STOPSEARCH_REDIS_URL; without either, none are kept. What counts is in the database.",
    )
    worker_queues: Annotated[tuple[str, ...], NoDecode] = Field(
        default=QUEUES,
        description="Queues that a worker serves, separated by commas: control, daily, backfill, replay.",
    )
    worker_concurrency: int = Field(
        default=4, ge=1, le=64, description="Processes of one worker, each of which runs one task at a time."
    )
    worker_prefetch: int = Field(
        default=1, ge=1, le=16, description="Tasks of one queue that each process of a worker may hold in reserve."
    )
    worker_max_tasks: int = Field(
        default=2000, ge=1, description="Tasks after which a process of a worker is replaced by a fresh one."
    )
    worker_nice: int = Field(
        default=10,
        ge=0,
        le=19,
        description="How far a worker steps back for others on the same machine, a server above all (nice). 0: not.",
    )
    task_soft_limit_s: float = Field(
        default=900,
        gt=0,
        description="Seconds after which a task is told to end; it is tried again later. Below the 30 minutes after "
        "which RabbitMQ takes a task back.",
    )
    task_hard_limit_s: float = Field(
        default=960, gt=0, description="Seconds after which a task's process is killed. More than the soft limit."
    )
    worker_grace_s: float = Field(
        default=30,
        ge=0,
        description="Seconds that a worker that is told to stop (SIGTERM) gives the tasks in hand; what has not ended "
        "by then goes back to its queue.",
    )
    month_retry_hours: float = Field(
        default=12,
        ge=0,
        description="Hours for which workers try a force-month again that fails in passing, before its batch ends "
        "without it. It stays due.",
    )
    tend_every_s: float = Field(
        default=30,
        gt=0,
        description="Seconds between two looks of Beat's for force-months that are to be tried again, or whose task "
        "was lost.",
    )
    poll_hour: int = Field(
        default=2, ge=0, le=23, description="Hour, in UTC, at which Beat starts the daily batch of what is due."
    )
    recheck_day: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "never"] = Field(
        default="sunday", description="Day on which Beat starts the weekly recheck of every listed month."
    )
    recheck_hour: int = Field(default=4, ge=0, le=23, description="Hour, in UTC, of the weekly recheck.")
    replay_hour: int = Field(
        default=5, ge=0, le=23, description="Hour, in UTC, of the daily replay of dead letters that older rules made."
    )
    housekeeping_hour: int = Field(
        default=6, ge=0, le=23, description="Hour, in UTC, of the daily housekeeping: bodies that may go, old results."
    )
    fallback_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the rate at which the publisher is asked while the Redis of STOPSEARCH_REDIS_URL is "
        "away; all processes share it through the database then.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="Least level of log events that are written to standard error."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="Shape of log events: for people on a terminal, JSON elsewhere (auto)."
    )

    @field_validator("forces", mode="before")
    @classmethod
    def _split_forces(cls, value: object) -> object:
        if isinstance(value, str):
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        if isinstance(value, tuple | list):
            try:
                return tuple(parse_force_id(str(force)) for force in value)
            except UnknownForce as error:
                raise ValueError(str(error)) from error
        return value

    @field_validator("cors_origins", "trusted_proxies", "worker_queues", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("worker_queues")
    @classmethod
    def _check_queues(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or set(value) - set(QUEUES):
            raise ValueError(f"it must name one or more of {', '.join(QUEUES)}")
        return value

    @field_validator("broker_url")
    @classmethod
    def _check_broker(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("amqp://", "amqps://")):
            raise ValueError("it must start with amqp:// or amqps://")
        if value is not None:
            try:
                _ = urlsplit(value.get_secret_value()).port
            except ValueError:  # its own words may quote a password with a mark that should be written as %2F or so
                raise ValueError(
                    "its port is no number; in a user or a password write / as %2F, @ as %40 and : as %3A"
                ) from None
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            ip_network(proxy, strict=False)
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("it must start with https:// or http://")
        return value.rstrip("/") if value else value

    @field_validator("archive_dir")
    @classmethod
    def _expand_archives(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value else value

    @field_validator("upstream_url")
    @classmethod
    def _check_upstream(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("it must start with https:// or http://")
        return value.rstrip("/")

    @field_validator("data_dir")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _check_limits(self) -> Settings:
        host = urlsplit(self.upstream_url).hostname or ""
        if self.rate_per_second > PUBLISHERS_LIMIT and host.endswith("police.uk"):
            raise ValueError(f"STOPSEARCH_RATE_PER_SECOND must be at most {PUBLISHERS_LIMIT}, the publisher's limit")
        if self.task_hard_limit_s <= self.task_soft_limit_s:
            raise ValueError("STOPSEARCH_TASK_HARD_LIMIT_S must be more than STOPSEARCH_TASK_SOFT_LIMIT_S")
        return self

    @property
    def is_distributed(self) -> bool:
        """
        Tell whether workers run the batches that are asked for.
        """
        return self.broker_url is not None

    @property
    def is_embedded(self) -> bool:
        """
        Tell whether the embedded PostgreSQL is used.
        """
        return self.database_url is None


def unknown_settings() -> list[str]:
    """
    Name the variables of the environment and of `.env` that look like settings and are none: misspelt, most likely.
    """
    given = {name.upper() for name in (*os.environ, *DotEnvSettingsSource(Settings).env_vars)}
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    return sorted(
        name
        for name in given - known
        if name.startswith(ENV_PREFIX) and not name.removeprefix(ENV_PREFIX).startswith(_NO_SETTINGS)
    )


def read_settings() -> Settings:
    """
    Read every setting.

    Raises:
        ConfigError: A setting has a value that can't be used; the message names each.
    """
    secrets = os.environ.get(f"{ENV_PREFIX}SECRETS_DIR")
    try:
        return Settings(_secrets_dir=secrets)  # type: ignore[call-arg]  # pydantic-settings takes it, undeclared
    except ValidationError as error:
        faults = "; ".join(
            (f"{ENV_PREFIX}{'_'.join(str(part) for part in fault['loc']).upper()}: " if fault["loc"] else "")
            + fault["msg"].removeprefix("Value error, ").removesuffix(".")
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise ConfigError(
            f"These settings can't be used: {faults}.",
            remedy="Mend them in the environment or in .env; .env.example explains each.",
        ) from None
