"""
Whether the broker lets us in: asked once at the start, while somebody still looks.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed
from kombu import Connection
from kombu.exceptions import KombuError

from stopsearch.domain.errors import ConfigError
from stopsearch.settings import Settings

# What the broker says to a login that is not right, and of a virtual host that is not there or not for this user.
REFUSALS = (AccessRefused, NotAllowed)


_TIMEOUT_S = 4.0


def need_broker(settings: Settings) -> str:
    """
    Give the address of the broker.

    Raises:
        ConfigError: No broker is set.
    """
    if settings.broker_url is None:
        raise ConfigError(
            "No broker is set, so there are no workers.",
            remedy="Name a RabbitMQ in STOPSEARCH_BROKER_URL, as amqp://user:password@host:5672/vhost.",
        )
    return settings.broker_url.get_secret_value()


def need_access(settings: Settings) -> None:
    """
    See that the broker takes our user and has our virtual host, if it answers. One that is away is waited for later.

    Raises:
        ConfigError: No broker is set, or it refuses us.
    """
    url = need_broker(settings)
    place = urlsplit(url).netloc.rpartition("@")[2]
    connection = Connection(url, connect_timeout=_TIMEOUT_S)
    try:
        connection.connect()
    except AccessRefused as refusal:
        raise ConfigError(
            f"RabbitMQ at {place} refuses the user or the password.",
            remedy="Mend STOPSEARCH_BROKER_URL, or make the user with 'rabbitmqctl add_user'.",
        ) from refusal
    except NotAllowed as refusal:
        raise ConfigError(
            f"RabbitMQ at {place} has no virtual host '{connection.virtual_host}' for this user.",
            remedy="Mend the end of STOPSEARCH_BROKER_URL (// at the end is the host '/'), or make it with "
            "'rabbitmqctl add_vhost' and 'rabbitmqctl set_permissions'.",
        ) from refusal
    except (KombuError, AMQPError, OSError):
        return
    finally:
        connection.release()
