"""
The formats that a page of stops can be had in, how one is chosen, and how the page is written in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from stopsearch.flows.find_stops import Page

_ANY = ("*/*", "*")


@dataclass(frozen=True, kw_only=True)
class Format:
    """
    One format: its suffix, its media types (the first is what answers say), and how a page is written in it.

    `write` takes the page, the address of the next one, and the meta as JSON.
    """

    name: str
    media_types: tuple[str, ...]
    write: Callable[[Page, str | None, bytes], bytes]
    has_next: bool  # whether the page itself tells the next one; else a Link header does


def _write_json(page: Page, following: str | None, meta: bytes) -> bytes:
    return _enveloped('{"data":[', page.words.json_rows(page.rows), following, meta)


def _write_geojson(page: Page, following: str | None, meta: bytes) -> bytes:
    return _enveloped('{"type":"FeatureCollection","features":[', page.words.geojson_rows(page.rows), following, meta)


def _enveloped(head: str, rows: list[str], following: str | None, meta: bytes) -> bytes:
    return b"".join(
        (head.encode(), ",".join(rows).encode(), b'],"next":', msgspec.json.encode(following), b',"meta":', meta, b"}")
    )


def _write_ndjson(page: Page, _next: str | None, _meta: bytes) -> bytes:
    return "".join(f"{row}\n" for row in page.words.json_rows(page.rows)).encode()


def _write_csv(page: Page, _next: str | None, _meta: bytes) -> bytes:
    return page.words.csv_text(page.rows).encode()


FORMATS: tuple[Format, ...] = (
    Format(name="json", media_types=("application/json",), write=_write_json, has_next=True),
    Format(
        name="ndjson",
        media_types=("application/x-ndjson", "application/ndjson", "application/jsonl"),
        write=_write_ndjson,
        has_next=False,
    ),
    Format(name="csv", media_types=("text/csv; charset=utf-8", "text/csv"), write=_write_csv, has_next=False),
    Format(
        name="geojson",
        media_types=("application/geo+json", "application/vnd.geo+json"),
        write=_write_geojson,
        has_next=True,
    ),
)


@lru_cache(maxsize=64)
@lru_cache(256)
def accepted_format(accept: str) -> Format | None:
    """
    Choose the format that an Accept header likes best; None: it takes none of them. An empty header takes any.

    The most specific range that names a format decides its weight (RFC 9110, section 12.5.1); of formats that are liked
    alike it is the first of `FORMATS`.
    """
    weights = dict(_weighed(part) for part in accept.lower().split(",") if part.strip())
    if not weights:
        return FORMATS[0]
    best, best_weight = None, 0.0
    for each in FORMATS:
        weight = _weight(each, weights)
        if weight > best_weight:
            best, best_weight = each, weight
    return best


def _weight(each: Format, weights: dict[str, float]) -> float:
    named = [weights[media_type] for media_type in each.media_types if media_type in weights]
    if named:
        return max(named)
    family = f"{each.media_types[0].partition('/')[0]}/*"
    return next((weights[name] for name in (family, *_ANY) if name in weights), 0.0)


def _weighed(part: str) -> tuple[str, float]:
    media_type, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media_type, float(value)
            except ValueError:
                return media_type, 0.0
    return media_type, 1.0
