"""
What holds of decode, identify, clean and validate for whatever records come: no database, many examples.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders.archives import csv_of, csv_rows, sample_members
from builders.ingests import edition
from builders.records import months
from builders.standin import make_api_record, make_csv
from stopsearch.clean.clean_stops import clean_stops
from stopsearch.clean.identity import Identities, identify
from stopsearch.clean.normal_form import normal_form
from stopsearch.clean.source_records import SourceRecords
from stopsearch.domain.months import Month
from stopsearch.flows.prepare_edition import decode
from stopsearch.validate.split import Split, split

pytestmark = pytest.mark.unit

MONTH = Month(2023, 7)
many = settings(max_examples=150, deadline=None)


def stages(content: Any) -> tuple[SourceRecords, Identities, Split]:
    published = edition(content)
    source = decode(published.shape, published.body)
    normal = normal_form(source.frame)
    identities = identify("durham", MONTH, normal)
    return source, identities, split(clean_stops("durham", source, normal, identities).frame)


def identities_of(content: Any) -> Identities:
    return stages(content)[1]


def ids_of(identities: Identities) -> list[bytes]:
    return [row.tobytes() for row in identities.ids]


@many
@given(month=months())
@example(month=[make_api_record(), None, 5, "", [], {}])
def test_conservation_every_record_is_on_exactly_one_side(month: list[Any]) -> None:
    source, _, parted = stages(month)

    accepted = parted.accepted["record_number"].to_list()
    assert len(source) == len(month)
    assert sorted([*accepted, *parted.rejected]) == list(range(1, len(month) + 1))
    assert all(parted.rejected.values()), "a record was rejected for no reason"


@many
@given(month=months())
def test_conservation_the_raw_form_of_each_record_is_what_was_published(month: list[Any]) -> None:
    source, _, parted = stages(month)

    numbers = sorted(parted.rejected)
    assert [json.loads(raw) for raw in source.raw(numbers)] == [month[number - 1] for number in numbers]


@many
@given(month=months(), order=st.randoms(use_true_random=False))
def test_identity_the_order_of_records_is_nothing(month: list[Any], order: Any) -> None:
    shuffled = list(month)
    order.shuffle(shuffled)

    one, other = identities_of(month), identities_of(shuffled)

    assert one.content_digest == other.content_digest
    assert set(ids_of(one)) == set(ids_of(other))


@many
@given(month=months())
def test_identity_ids_are_unique_and_ordinals_count_the_repeats(month: list[Any]) -> None:
    source, identities, _ = stages(month)

    ids = ids_of(identities)
    assert len(set(ids)) == len(month)
    written = normal_form(source.frame).drop("record_number").rows()
    met: Counter[Any] = Counter()
    for row, ordinal in zip(written, identities.ordinals.to_list(), strict=True):
        assert ordinal == met[row]
        met[row] += 1


@many
@given(month=months(odd=False))
def test_identity_both_shapes_of_the_same_records_agree(month: list[Any]) -> None:
    answer, file = identities_of(month), identities_of(make_csv(month))

    assert answer.content_digest == file.content_digest
    assert set(ids_of(answer)) == set(ids_of(file))


@many
@given(month=months(), more=months(max_size=2))
def test_identity_another_record_is_another_content(month: list[Any], more: list[Any]) -> None:
    one, other = identities_of(month), identities_of([*month, *more])

    assert one.content_digest != other.content_digest
    assert set(ids_of(one)) < set(ids_of(other))


@many
@given(month=months(odd=False))
def test_identity_what_lies_outside_it_changes_nothing(month: list[Any]) -> None:
    for_them = [{**record, "involved_person": None, "outcome_object": None, "new key": 1} for record in month]
    for record in for_them:
        if record["location"]:
            record["location"] = {**record["location"], "street": {"id": 9, "name": "Elsewhere"}}

    assert identities_of(month).content_digest == identities_of(for_them).content_digest


@settings(max_examples=60, deadline=None)
@given(
    key=st.sampled_from(sorted(sample_members("2021-11"))),
    numbers=st.lists(st.integers(0, 49), min_size=1, max_size=6),
    field=st.sampled_from(["Gender", "Outcome", "Date", "Latitude", "Part of a policing operation", "Type"]),
    value=st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters=',"'), max_size=8),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_conservation_real_files_with_values_changed(
    key: tuple[str, str], numbers: list[int], field: str, value: str, newline: str
) -> None:
    rows = csv_rows(sample_members("2021-11")[key])
    for number in numbers:
        rows[number][field] = value

    source, identities, parted = stages(csv_of(rows, newline=newline))

    assert len(source) == len(rows) == parted.accepted.height + len(parted.rejected)
    assert set(parted.rejected) <= {number + 1 for number in numbers}
    raw = [json.loads(text) for text in source.raw(sorted(parted.rejected))]
    assert raw == [rows[number - 1] for number in sorted(parted.rejected)]
    assert len(set(ids_of(identities))) == len(rows)
