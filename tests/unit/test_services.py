"""
What the test suite says of the real services that it found and lacks: no more than is so, and never a password.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import services
from services import Service, announce, look_for_services, sum_up, want

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Look anew, and with nothing required.
    """
    monkeypatch.delenv(services.REQUIRE_VARIABLE, raising=False)
    services._services_here.cache_clear()
    yield
    services._services_here.cache_clear()


@pytest.fixture
def no_rabbitmq(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A machine on which no RabbitMQ is installed.
    """
    monkeypatch.setattr(services, "find_server", lambda: None)
    for name in (services.BROKER_VARIABLE, services.DATABASE_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_what_is_lacking_is_told_with_what_is_left_out_and_how_to_get_it(no_rabbitmq: None) -> None:
    lines = [line for line in announce(look_for_services({})) if "RabbitMQ" in line]

    assert len(lines) == 1, "the one that is stopped and killed is the same, and lacking for the same reason"
    for part in ("NOT FOUND", "workers", "apt-get install rabbitmq-server", services.BROKER_VARIABLE):
        assert part in lines[0]


def test_a_given_address_is_told_without_its_password_and_does_for_what_only_uses_it(no_rabbitmq: None) -> None:
    given = {
        services.BROKER_VARIABLE: "amqp://me:hush@broker.example.org:5672/tests",
        services.DATABASE_VARIABLE: "postgresql://me:hush@db.example.org/tests",
        services.REDIS_VARIABLE: "redis://:hush@redis.example.org:6379/3",
    }
    told = "\n".join(announce(look_for_services(given)))

    assert "hush" not in told
    for part in ("broker.example.org:5672/tests", "db.example.org, database tests", "redis.example.org:6379/3"):
        assert part in told
    assert "RabbitMQ to be stopped and killed: NOT FOUND" in told


def test_a_test_that_wants_what_is_lacking_is_left_out(no_rabbitmq: None) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"left out for want of RabbitMQ: .*apt-get install") as left_out:
        want(Service.RABBITMQ)

    reasons = [
        f"Skipped: {left_out.value.msg}",
        f"Skipped: {left_out.value.msg}",
        "Skipped: the larger data is not here",
    ]
    [line] = sum_up(reasons)
    assert line.startswith("2 left out for want of RabbitMQ: ")


def test_a_test_that_wants_what_is_lacking_fails_where_services_are_required(
    no_rabbitmq: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(services.REQUIRE_VARIABLE, "1")

    with pytest.raises(pytest.fail.Exception, match=services.REQUIRE_VARIABLE):
        want(Service.RABBITMQ)
    assert "all required" in announce(look_for_services())[0]


def test_what_is_here_leaves_no_test_out() -> None:
    assert want(Service.VALKEY).what
    assert want(Service.POSTGRES).what
