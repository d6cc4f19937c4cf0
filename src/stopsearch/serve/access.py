"""
Who may start and watch ingestions: whoever has the server's bearer token. Without one configured, nobody may.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from stopsearch.domain.errors import AccessOff, TokenRefused

# For routes to depend on, so that the OpenAPI document says that they need the token. It checks nothing itself.
BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="The server's token, which its operator set in STOPSEARCH_API_TOKEN.",
)


class GuardedRoute(APIRoute):
    """
    A route that asks for the token before anything else: of a request without it, not even the body is read.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """
        Give the route's handler, guarded.
        """
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            require_token(request)
            return await handle(request)

        return guarded


def require_token(request: Request) -> None:
    """
    Let a request pass that brings the server's token.

    Raises:
        AccessOff: The server has no token, so nobody may.
        TokenRefused: The request brings none, or another.
    """
    token = request.app.state.settings.api_token
    if token is None:
        raise AccessOff(
            "Starting and watching ingestions over HTTP is off on this server.",
            remedy="Its operator turns it on by setting STOPSEARCH_API_TOKEN.",
        )
    given = request.headers.getlist("Authorization")
    # Of two, somebody in between may have looked at the other one.
    scheme, _, brought = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not brought:
        raise TokenRefused("This needs the server's token.", remedy="Send it as 'Authorization: Bearer TOKEN'.")
    # A header comes as Latin-1; written back, it is the bytes that the client sent.
    if not hmac.compare_digest(brought.strip().encode("latin-1", "replace"), token.get_secret_value().encode()):
        raise TokenRefused("This is not the server's token.", remedy="Send it as 'Authorization: Bearer TOKEN'.")
