"""
Whether a client holds an answer already, and how long an answer may be kept: decided before the answer is made.
"""

from __future__ import annotations

import re
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response

# For whatever tells how things stand now, and for what needs a token.
NO_STORE = "no-store"

# A snapshot's answers never change, so whoever asked by its id need not ask again.
_PINNED = "public, max-age=31536000, immutable"
# What is served now may change at any moment: it may be kept, but is asked after each time, which costs little.
_CURRENT = "public, max-age=0, must-revalidate"

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def etag_of(
    snapshot_id: str, canonical_query: str, path: str, base_url: str, software_version: str, *, variant: str = ""
) -> str:
    """
    Give the entity tag of an answer, from all that its bytes are made from; it is strong.

    Two questions that are written differently and mean the same have one tag; two snapshots, two versions of the
    software, or two addresses that links are made for, never have.

    Args:
        variant: The format, where not the path but the Accept header decided it.
    """
    parts = (snapshot_id, canonical_query, path, base_url, software_version, variant)
    # A byte that no UTF-8 has stands between the parts, so that nothing can move from one to the next.
    digest = sha256(b"\xff".join(part.encode("utf-8", "surrogatepass") for part in parts)).hexdigest()
    return f'"{digest[:32]}"'


def not_modified(request: Request, etag: str) -> bool:
    """
    Tell whether the client says that it holds the answer with this tag.

    Weak tags count as strong ones here (RFC 9110, section 13.1.2), so that a compressed answer is recognised too.
    """
    given = request.headers.getlist("if-none-match")
    if not given or request.method not in ("GET", "HEAD"):
        return False
    held = ", ".join(given)
    return held.strip() == "*" or etag.removeprefix("W/") in _TAG.findall(held)


def cache_control(is_pinned: bool) -> str:
    """
    Give how long an answer from a snapshot may be kept.

    Args:
        is_pinned: Whether the snapshot was asked for by its whole id: by anything else another one may be meant later.
    """
    return _PINNED if is_pinned else _CURRENT


def conditional_headers(etag: str, *, is_pinned: bool) -> dict[str, str]:
    """
    Give the headers by which an answer from a snapshot may be kept and asked after.
    """
    return {"ETag": etag, "Cache-Control": cache_control(is_pinned), "Vary": "Accept, Accept-Encoding"}


def not_modified_answer(etag: str, cache_control: str) -> Response:
    """
    Give the answer to a client that holds the answer.
    """
    return Response(
        status_code=304, headers={"ETag": etag, "Cache-Control": cache_control, "Vary": "Accept, Accept-Encoding"}
    )
