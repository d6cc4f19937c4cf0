"""
How the web server meets clients that are slow, silent or out of bounds: none holds a connection for ever.

Uvicorn waits without end for the head of a request, takes a head of any size, and waits without end for a client that
reads nothing. What is here bounds the three.
"""

from __future__ import annotations

import sys
from asyncio import BaseTransport, TimerHandle, Transport
from typing import Any, cast

from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from stopsearch.serve.limits import MOST_TARGET_BYTES
from stopsearch.serve.problems import problem
from stopsearch.settings import Settings

HEAD_PATIENCE_S = 10.0
MOST_HEAD_BYTES = 64 * 1024
# A client that takes in less than this each second, over the whole time that it may stall, counts as stalled.
LEAST_BYTES_PER_S = 1024
# Connections at once; of the files that a process may have open, half are left for everything else.
_MOST_CONNECTIONS = 1000


def uvicorn_options(settings: Settings) -> dict[str, Any]:
    """
    Give what `uvicorn.Config` takes beside the application, the host and the port.
    """

    class Protocol(GuardedProtocol):
        stall_s = settings.export_stall_s

    return {
        "http": Protocol,
        "ws": "none",
        "lifespan": "on",
        # Who asks is decided by the trusted proxies of the settings, and links by the public address of the settings.
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "limit_concurrency": _most_connections(),
        "backlog": 2048,
        "timeout_keep_alive": 5,
        "timeout_graceful_shutdown": 30,
    }


def _most_connections() -> int:
    if sys.platform == "win32":
        return _MOST_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(64, min(_MOST_CONNECTIONS, soft // 2))


class GuardedProtocol(HttpToolsProtocol):
    """
    One connection of Uvicorn's, with a deadline for the head of each request, a bound on its size, and an end for
    clients that stop reading. What it refuses it refuses with a problem, as the application does.
    """

    head_patience_s = HEAD_PATIENCE_S
    stall_s = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: TimerHandle | None = None
        self._head_bytes = 0
        self._stall_timer: TimerHandle | None = None
        self._unread_bytes = 0

    def connection_made(self, transport: BaseTransport) -> None:
        """
        Begin to wait for the first request.
        """
        super().connection_made(cast(Transport, transport))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """
        Forget every deadline.
        """
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """
        Take in what the client sent, unless its head has grown too large.
        """
        if self.transport.is_closing():
            return
        if self._head_timer is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_timer is None:
            # Between requests, too, whatever comes must become a request in time.
            if self._is_idle():
                self._await_head()
        elif self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """
        Begin to wait for the head of a further request.
        """
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """
        Stop waiting for the head, and start the request.
        """
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._head_bytes = 0
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """
        Begin to watch whether the client reads on.
        """
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """
        Stop watching: it has read on. A connection that ends is watched until the last byte is taken.
        """
        super().resume_writing()
        if self._stall_timer is not None and not self.transport.is_closing():
            self._stall_timer.cancel()
            self._stall_timer = None

    def on_response_complete(self) -> None:
        """
        Go on with the next request, or watch that the rest is taken in where the connection ends.
        """
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_reader()

    def timeout_keep_alive_handler(self) -> None:
        """
        End a connection on which no further request came, once the last answer is taken in.
        """
        super().timeout_keep_alive_handler()
        self._watch_reader()

    def send_400_response(self, msg: str) -> None:
        """
        Refuse what is no HTTP.
        """
        self._refuse(400, "bad_request", msg, "Send it as HTTP/1.1.")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, cast(Any, _busy) if app is service_unavailable else app)

    def _is_idle(self) -> bool:
        return self.timeout_keep_alive_task is None and not self._is_answering() and not self.transport.is_closing()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_patience_s, self._end_slow_head)

    def _end_slow_head(self) -> None:
        self._head_timer = None
        # Whoever has an answer to read is not cut off for a further request that is late.
        if not self._is_answering():
            self.transport.abort()

    def _refuse_head(self) -> None:
        if len(getattr(self, "url", b"")) > MOST_TARGET_BYTES:
            self._refuse(414, "target_too_long", f"The address is longer than {MOST_TARGET_BYTES:,} bytes.", "")
        else:
            self._refuse(
                431, "head_too_large", f"The headers are larger than {MOST_HEAD_BYTES:,} bytes.", "Send fewer headers."
            )

    def _refuse(self, status: int, kind: str, detail: str, remedy: str) -> None:
        if self._is_answering():
            self.transport.abort()  # nothing can be said in the middle of another answer
            return
        answer = problem(_NO_REQUEST, kind=kind, status=status, detail=detail, remedy=remedy)
        head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        self.transport.write(STATUS_LINE[status] + head + b"connection: close\r\n\r\n" + bytes(answer.body))
        self.transport.close()
        self._watch_reader()

    def _watch_reader(self) -> None:
        if self._stall_timer is None and self.parser is not None:
            self._unread_bytes = _unread_bytes(self.transport)
            self._stall_timer = self.loop.call_later(self.stall_s, self._end_stalled)

    def _end_stalled(self) -> None:
        """
        Cut a client off that has taken in next to nothing; of another one, watch on.
        """
        self._stall_timer = None
        read = self._unread_bytes - _unread_bytes(self.transport)
        if read < LEAST_BYTES_PER_S * self.stall_s:
            self.transport.abort()
        else:
            self._watch_reader()


def _unread_bytes(transport: Transport) -> int:
    """
    Give how many bytes the client has not taken in: those that wait here, and those that wait in the system.

    The system frees its buffer in steps of up to a megabyte, which a slow reader needs longer for than it may stall.
    """
    waiting = transport.get_write_buffer_size()
    if sys.platform == "linux":
        import fcntl
        import termios

        try:
            answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError, AttributeError):  # closed meanwhile
            return waiting
        waiting += int.from_bytes(answer, sys.byteorder, signed=True)
    return waiting


# A refusal of what never became a request names no path.
_NO_REQUEST = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem(
        Request(scope),
        kind="server_busy",
        status=503,
        detail="As many connections are open as may be at once.",
        remedy="Try again in a few seconds.",
        headers={"Connection": "close", "Retry-After": "5"},
    )
    await answer(scope, receive, send)
