"""
How the publisher's answers look on the wire: headers as recorded, bodies gzipped when asked, errors empty.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from stopsearch.standin.encoded import Encoded

# As recorded on 2019-01-04, beside Date (which the server adds), Content-Type and Content-Length. No ETag, no
# Last-Modified, no Cache-Control: there is no conditional request.
RECORDED_HEADERS: dict[str, str] = {
    "Access-Control-Allow-Origin": "*",
    "Server": "nginx",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1; mode=block",
}


class PlainResponse(Response):
    """
    A response with the publisher's headers and no charset beside its content type.
    """

    def __init__(
        self,
        content: bytes = b"",
        *,
        status: int = 200,
        content_type: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        # Not as a media type: Starlette would add a charset to text, which the publisher does not send.
        typed = {"Content-Type": content_type} if content_type else {}
        super().__init__(content, status_code=status, headers=RECORDED_HEADERS | typed | (headers or {}))


def json_answer(request: Request, answer: Encoded) -> Response:
    """
    Answer with JSON, gzipped where the client accepts that.
    """
    if _accepts_gzip(request):
        return PlainResponse(answer.gzipped, content_type="application/json", headers={"Content-Encoding": "gzip"})
    return PlainResponse(answer.plain, content_type="application/json")


def json_value(request: Request, value: Any) -> Response:
    """
    Answer with a value as JSON, gzipped where the client accepts that.
    """
    return json_answer(request, Encoded.of(msgspec.json.encode(value)))


def empty_answer(status: int, headers: dict[str, str] | None = None) -> Response:
    """
    Answer an error: its body is empty.
    """
    return PlainResponse(status=status, headers=headers)


def html_answer() -> Response:
    """
    Answer 200 with a web page, as something between the publisher and a client may.
    """
    page = b"<!DOCTYPE html><html><head><title>Down</title></head><body><h1>Back soon</h1></body></html>"
    return PlainResponse(page, content_type="text/html")


def _accepts_gzip(request: Request) -> bool:
    codings = request.headers.get("accept-encoding", "").replace(" ", "").split(",")
    return "gzip" in codings
