"""
Examine what the distributed engine needs: the broker, its queues and who serves them, and Redis.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from stopsearch.domain.errors import BrokerUnavailable
from stopsearch.flows.doctor import Finding, Verdict
from stopsearch.settings import Settings
from stopsearch.worker.dispatch import CeleryDispatch

_REDIS_TIMEOUT_S = 3.0


def examine_services(settings: Settings) -> list[Finding]:
    """
    Examine the services that the settings name; those that they don't name are left out.
    """
    findings = []
    if settings.broker_url is not None:
        findings += _broker(settings)
    if settings.redis_url is not None:
        findings.append(_redis(settings.redis_url.get_secret_value()))
    return findings


def _broker(settings: Settings) -> list[Finding]:
    dispatch = CeleryDispatch.from_settings(settings)
    try:
        queues = dispatch.look()
    except BrokerUnavailable as error:
        return [Finding(check="broker", verdict=Verdict.FAIL, message=error.message, remedy=error.remedy)]
    waiting = ", ".join(f"{name} {state.waiting:,}" for name, state in queues.items() if name != "dead-tasks")
    findings = [Finding(check="broker", verdict=Verdict.OK, message=f"RabbitMQ answers; tasks that wait: {waiting}")]
    unserved = [name for name, state in queues.items() if not state.consumers and name != "dead-tasks"]
    if unserved:
        findings.append(
            Finding(
                check="workers",
                verdict=Verdict.WARN,
                message=f"no worker serves {', '.join(unserved)}",
                remedy="Start one: 'stopsearch worker'. Tasks wait until then.",
            )
        )
    else:
        findings.append(Finding(check="workers", verdict=Verdict.OK, message="every queue is served"))
    dead = queues["dead-tasks"].waiting
    if dead:
        findings.append(
            Finding(
                check="dead tasks",
                verdict=Verdict.WARN,
                message=f"{dead:,} tasks ended their workers each time",
                remedy="'stopsearch dead-tasks list' shows them; 'requeue' takes them up again.",
            )
        )
    return findings


def _redis(url: str) -> Finding:
    import redis

    place = urlsplit(url).netloc.rpartition("@")[2]
    try:
        redis.Redis.from_url(url, socket_connect_timeout=_REDIS_TIMEOUT_S, socket_timeout=_REDIS_TIMEOUT_S).ping()
    except (redis.RedisError, OSError, ValueError) as error:
        return Finding(
            check="redis",
            verdict=Verdict.WARN,
            message=f"the Redis at {place} does not answer ({type(error).__name__}); all works without it, slower",
            remedy="See that it runs, and that STOPSEARCH_REDIS_URL is right.",
        )
    return Finding(check="redis", verdict=Verdict.OK, message=f"the Redis at {place} answers")
