"""
Turn what the publisher sent into an edition ready to be stored: decode, identify, clean, validate. No IO.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import polars as pl

from stopsearch.clean.clean_stops import RULES_VERSION, clean_stops
from stopsearch.clean.decode_csv import decode_csv
from stopsearch.clean.decode_json import decode_json
from stopsearch.clean.identity import IDENTITY_VERSION, Identities, id_prefix, identify
from stopsearch.clean.normal_form import normal_form
from stopsearch.clean.quality import measure_quality
from stopsearch.clean.source_records import SourceRecords
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import Shape
from stopsearch.store.edition import Edition, KeptBody, LetterDraft
from stopsearch.store.releases import Held
from stopsearch.store.stop_rows import StopRows, stop_rows
from stopsearch.validate.split import refuse_if_too_many, split


@dataclass(frozen=True, kw_only=True)
class RefusalLimits:
    """
    When a whole month is refused: at least so many records, and more than such a share of all, are rejected.
    """

    share: float
    at_least: int


@dataclass(frozen=True, kw_only=True)
class NoRecords:
    """
    The publisher answered with no record: not zero stops.
    """


@dataclass(frozen=True, kw_only=True)
class SameContent:
    """
    The content is held already; what is new is at most the streets, and which body said so.
    """

    received: int | None  # None where the bytes themselves were known, so that nobody counted
    revision: int | None
    streets: pl.DataFrame | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class NewEdition:
    """
    Content that is not held: to become the current revision, or to go into history.
    """

    edition: Edition
    rows: StopRows
    is_historic: bool


Prepared = NoRecords | SameContent | NewEdition


class Stopwatch:
    """
    How long each stage of a run took, in seconds.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """
        Time one stage; a stage that is entered twice adds up.
        """
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def prepare_edition(
    published: PublishedMonth,
    held: Held,
    *,
    limits: RefusalLimits,
    compress: Callable[[PublishedMonth], KeptBody],
    name_operations: Callable[[set[str]], dict[str, int]],
    watch: Stopwatch,
) -> Prepared:
    """
    Prepare one force-month for the store, as far as its content is new.

    Args:
        held: What the database holds of the force-month.
        limits: When the whole month is refused.
        compress: Makes the body ready to be kept; called only where the content is new.
        name_operations: Gives the code of each operation name.

    Raises:
        SourceShapeChanged: The body is no list of stops, or a column of it is gone.
        MonthRefused: Too large a share of the records was rejected.
    """
    if published.body_digest in held.body_digests:
        return SameContent(received=None, revision=held.revision)
    with watch.stage("decode"):
        source = decode(published.shape, published.body)
    if not len(source):
        return NoRecords()
    with watch.stage("identify"):
        normal = normal_form(source.frame)
        identities = identify(published.force, published.month, normal)
    is_historic = held.published_at is not None and published.published_at < held.published_at
    if identities.content_digest == held.content_digest:
        return SameContent(received=len(source), revision=held.revision, streets=source.streets)
    is_delivered_again = (identities.content_digest, published.published_at) in held.known and not held.is_reverted
    is_kept = any(identities.content_digest == digest for digest, _ in held.known)
    if is_delivered_again or (is_historic and is_kept):
        return SameContent(received=len(source), revision=None, streets=source.streets)
    edition, rows = build_edition(
        published,
        source,
        normal,
        identities,
        body=compress(published),
        limits=limits,
        name_operations=name_operations,
        watch=watch,
    )
    return NewEdition(edition=edition, rows=rows, is_historic=is_historic)


def decode(shape: Shape, body: bytes) -> SourceRecords:
    """
    Read a body of either shape.
    """
    return decode_json(body) if shape is Shape.JSON else decode_csv(body)


def build_edition(
    published: PublishedMonth,
    source: SourceRecords,
    normal: pl.DataFrame,
    identities: Identities,
    *,
    body: KeptBody,
    limits: RefusalLimits | None,
    name_operations: Callable[[set[str]], dict[str, int]],
    watch: Stopwatch,
) -> tuple[Edition, StopRows]:
    """
    Clean and validate decoded records, and make the rows of their stops.

    Args:
        limits: When the whole month is refused; None: never.
    """
    with watch.stage("clean"):
        tidy = clean_stops(published.force, source, normal, identities)
    with watch.stage("validate"):
        parted = split(tidy.frame)
        by_rule = parted.rejected_by_rule()
        if limits is not None:
            refuse_if_too_many(
                received=len(source),
                rejected=len(parted.rejected),
                share=limits.share,
                at_least=limits.at_least,
                by_rule=by_rule,
            )
    with watch.stage("shape"):
        accepted = parted.accepted
        ids = tidy.ids[accepted["record_number"].to_numpy() - 1] if parted.rejected else tidy.ids
        quality = measure_quality(published.month, accepted, identities.ordinals, source.extra_keys)
        operations = {name for name in accepted["operation_name"].unique().to_list() if name}
        rows = stop_rows(
            published.month,
            accepted,
            ids,
            name_operations(operations) if operations else {},
            is_date_only=quality.is_date_only,
        )
        numbers = sorted(parted.rejected)
        letters = [
            LetterDraft(
                record_number=number,
                raw=raw,
                rejections=[
                    {"rule": broken.rule, "column": broken.column, "message": broken.message}
                    for broken in parted.rejected[number]
                ],
            )
            for number, raw in zip(numbers, source.raw(numbers) if numbers else [], strict=True)
        ]
    edition = Edition(
        force=published.force,
        month=published.month,
        source=published.source,
        origin=published.origin,
        body=body,
        fetched_at=published.fetched_at,
        published_at=published.published_at,
        content_digest=identities.content_digest,
        id_prefix=id_prefix(published.force, published.month),
        identity_version=IDENTITY_VERSION,
        rules_version=RULES_VERSION,
        received=len(source),
        accepted=accepted,
        ids=ids,
        letters=letters,
        mended=tidy.mended,
        rejected_by_rule=by_rule,
        quality=quality.figures,
        is_doubled=quality.is_doubled,
        is_date_only=quality.is_date_only,
        streets=source.streets,
    )
    return edition, rows
