"""
The identity of a stop, version 1: an id made from its force, month, published content and ordinal.

Golden vectors in the tests freeze it: the same record has the same id on any machine, from either shape, for ever.
See docs/decisions/0003-identity-of-a-stop.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from stopsearch.clean.source_records import UNREADABLE_TEXT
from stopsearch.domain.months import Month
from stopsearch.domain.stops import FIELDS

IDENTITY_VERSION = 1

_SEPARATOR = "\x1f"
_FIRST = "0"
_ID_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Identities:
    """
    The identities of one force-month's received records, in the publisher's order.
    """

    ids: npt.NDArray[np.uint8]  # one row a record, 16 bytes: a UUID of version 8
    ordinals: pl.Series  # 0 for the first of exact repeats, 1 for the second, …
    content_digest: bytes  # SHA-256 over the sorted digests of all records: the order of records is nothing


def identify(force: str, month: Month, normal: pl.DataFrame) -> Identities:
    """
    Identify each record of one force-month from its normal form.

    A record's digest is the SHA-256 of force, month, the 15 fields (no value as an empty text) and the ordinal
    among exact repeats, joined by U+001F. Its id is a version 8 UUID: the month in 2 bytes, 2 bytes of the
    force's digest, then 12 bytes of the record's digest. So a force-month's ids lie together in an index.
    A record that could not be read has no fields: the word `unreadable` and its text stand in their place.

    Args:
        normal: The records in normal form; repeats are told apart by their order.
    """
    texts = _content(force, month, normal).cast(pl.Binary).to_list()
    digests = [hashlib.sha256(text).digest() for text in texts]
    ordinals = _number_repeats(texts, digests)
    joined = b"".join(digests)
    matrix = np.frombuffer(joined, dtype=np.uint8).reshape(len(digests), 32)
    heads = _heads(joined)
    order = np.argsort(heads)
    if (heads[order][1:] == heads[order][:-1]).any():  # two that begin alike: order them by the rest as well
        content = hashlib.sha256(b"".join(sorted(digests))).digest()
    else:
        content = hashlib.sha256(matrix[order].tobytes()).digest()
    return Identities(ids=_uuids(id_prefix(force, month), matrix), ordinals=ordinals, content_digest=content)


def id_prefix(force: str, month: Month) -> bytes:
    """
    Give the first four bytes of the id of every stop of a force-month.
    """
    return month.ordinal.to_bytes(2, "big") + hashlib.sha256(force.encode()).digest()[:2]


def _content(force: str, month: Month, normal: pl.DataFrame) -> pl.Series:
    """
    Give the text of each record's digest, with the ordinal of a first: 0.
    """
    head, first = pl.lit(f"{force}{_SEPARATOR}{month}"), pl.lit(_FIRST)
    fields = normal.select(
        pl.concat_str([head, *(pl.col(name).fill_null("") for name in FIELDS), first], separator=_SEPARATOR)
    ).to_series()
    is_ambiguous = fields.str.count_matches(_SEPARATOR, literal=True) != len(FIELDS) + 2
    if is_ambiguous.any():
        # A value that holds the separator itself can't be let pass for two: it is escaped, and so is the escape. The
        # text of such a record has one part more than any other's, so that it is the text of no other record.
        escaped = [_escaped(name).fill_null("") for name in FIELDS]
        careful = normal.select(pl.concat_str([head, *escaped, pl.lit("escaped"), first], separator=_SEPARATOR))
        fields = careful.to_series().zip_with(is_ambiguous, fields)
    if UNREADABLE_TEXT in normal.columns:
        # Five parts, which no record that could be read has.
        parts = [head, pl.lit("unreadable"), _escaped(UNREADABLE_TEXT), first]
        unread = normal.select(pl.concat_str(parts, separator=_SEPARATOR)).to_series()
        fields = unread.zip_with(unread.is_not_null(), fields)
    return fields


def _escaped(name: str) -> pl.Expr:
    return pl.col(name).str.replace_all("\\", "\\\\", literal=True).str.replace_all(_SEPARATOR, "\\u001f", literal=True)


def _number_repeats(texts: list[bytes], digests: list[bytes]) -> pl.Series:
    """
    Number exact repeats from 0 in the order of the records, and give all but the first their own digest, in place.

    Most records are no repeats (4.5 % measured), so only those whose digests begin alike are looked at one by one.
    """
    ordinals = np.zeros(len(digests), dtype=np.uint32)
    heads = _heads(b"".join(digests))
    order = np.argsort(heads)
    alike = np.flatnonzero(heads[order][1:] == heads[order][:-1]) + 1
    seen: Counter[bytes] = Counter()
    for place in np.union1d(order[alike], order[alike - 1]).tolist():
        first = digests[place]
        ordinal = seen[first]
        seen[first] += 1
        if ordinal:
            ordinals[place] = ordinal
            digests[place] = hashlib.sha256(texts[place].removesuffix(_FIRST.encode()) + str(ordinal).encode()).digest()
    return pl.Series("ordinal", ordinals)


def _heads(joined: bytes) -> npt.NDArray[np.uint64]:
    """
    Give the first 8 bytes of each digest as a number: numbers in order are digests in order.
    """
    return np.frombuffer(joined, dtype=">u8")[::4].astype(np.uint64)


def _uuids(prefix: bytes, digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    ids = np.empty((len(digests), _ID_BYTES), dtype=np.uint8)
    ids[:, :4] = np.frombuffer(prefix, dtype=np.uint8)
    ids[:, 4:] = digests[:, :12]
    ids[:, 6] = (ids[:, 6] & 0x0F) | 0x80  # version 8 (RFC 9562): the layout is our own
    ids[:, 8] = (ids[:, 8] & 0x3F) | 0x80  # the variant of RFC 9562
    return ids
