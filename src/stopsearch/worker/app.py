"""
The Celery app, made of the settings alone.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from stopsearch.settings import QUEUES, Settings
from stopsearch.worker.access import need_broker
from stopsearch.worker.queues import DEAD_QUEUE, EXCHANGE, TASK_QUEUES, broker_name
from stopsearch.worker.tasks import register

# Below the five minutes in which a load balancer forgets a connection that nothing is sent on.
_HEARTBEAT_S = 30
_RESULTS_KEPT_S = 86_400
_CONNECT_TIMEOUT_S = 4.0
_REDIS_TIMEOUT_S = 5.0
_PATIENCE = {"read_timeout": 10.0, "write_timeout": 10.0}


def make_celery(settings: Settings) -> Celery:
    """
    Make the app that sends tasks, and that workers run.

    Raises:
        ConfigError: No broker is set.
    """
    results = settings.result_url or settings.redis_url
    app = Celery(
        "stopsearch",
        broker=need_broker(settings),
        backend=results.get_secret_value() if results is not None else "disabled",
        set_as_current=False,
    )
    app.conf.update(_configuration(settings))
    register(app, settings)
    return app


def _configuration(settings: Settings) -> dict[str, Any]:
    return {
        # What tasks carry: ids and ISO strings.
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "timezone": "UTC",
        # Nothing is lost: acknowledged once done, given back when the process dies, confirmed when published.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # What ends in an error, or by its time limit, is in the ledger: the task has nothing more to say.
        "task_acks_on_failure": True,
        "task_acks_on_timeout": True,
        "broker_transport_options": {"confirm_publish": True},
        "task_soft_time_limit": settings.task_soft_limit_s,
        "task_time_limit": settings.task_hard_limit_s,
        # Queues.
        "task_queues": TASK_QUEUES,
        "task_default_queue": broker_name(QUEUES[0]),
        "task_default_exchange": EXCHANGE.name,
        "task_default_exchange_type": "direct",
        "task_default_routing_key": broker_name(QUEUES[0]),
        "task_create_missing_queues": False,
        # The broker comes and goes: workers wait for it for ever, whoever sends gives up soon.
        "broker_heartbeat": _HEARTBEAT_S,
        "broker_connection_timeout": _CONNECT_TIMEOUT_S,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_publish_retry": True,
        "task_publish_retry_policy": {
            "max_retries": 2,
            "interval_start": 0.2,
            "interval_step": 0.3,
            "interval_max": 0.5,
        },
        # Results are a courtesy: never waited for, never fatal.
        "task_ignore_result": True,
        "result_expires": _RESULTS_KEPT_S,
        "redis_socket_timeout": _REDIS_TIMEOUT_S,
        "redis_socket_connect_timeout": _REDIS_TIMEOUT_S,
        "redis_retry_on_timeout": False,
        "result_backend_always_retry": False,
        "result_backend_transport_options": {"retry_policy": {"max_retries": 1, "interval_start": 0.1}},
        # Workers.
        "worker_consumer": "stopsearch.worker.consumer:PlainConsumer",
        "worker_concurrency": settings.worker_concurrency,
        "worker_prefetch_multiplier": settings.worker_prefetch,
        "worker_max_tasks_per_child": settings.worker_max_tasks,
        # A process imports what it needs after the fork, which on a busy machine takes longer than four seconds.
        "worker_proc_alive_timeout": 120.0,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Nobody commands a worker but by signals. Its queue of commands would be locked to the old connection of a
        # worker that was cut off, and end it when it comes back before RabbitMQ has noticed.
        "worker_enable_remote_control": False,
        # RabbitMQ 4.3 refuses queues that are neither durable nor exclusive.
        "event_queue_exclusive": True,
        "event_queue_durable": False,
        # Beat's own memory is the ledger, so it keeps no file.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": 5,
    }


def only_send(app: Celery) -> Celery:
    """
    Let this process only send, and wait ten seconds at most for a broker that takes connections and does not answer.

    A worker's first process listens too, for as long as nothing comes, and so has no such bound.
    """
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, **_PATIENCE}
    return app


def declare_queues(app: Celery) -> None:
    """
    Declare every queue at the broker, also the one for dead tasks, which no worker serves.
    """
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        DEAD_QUEUE(channel).declare()
        for queue in TASK_QUEUES:
            queue(channel).declare()
