"""
The publisher's acts: months that appear, are restated, emptied, listed and left out.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from builders.standin import make_api_record, make_csv
from stopsearch.domain.months import Month
from stopsearch.standin.catalogue import Catalogue
from stopsearch.standin.encoded import Encoded
from stopsearch.standin.publication import Publication

pytestmark = pytest.mark.unit

JUNE, JULY = Month(2023, 6), Month(2023, 7)
RECORDS = [make_api_record(datetime=f"2023-07-01T10:{minute:02d}:00+00:00") for minute in range(20)]
HELD: dict[tuple[str, str], Any] = {
    ("gwent", "2023-06"): RECORDS[:5],
    ("gwent", "2023-07"): RECORDS,
    ("kent", "2023-07"): RECORDS[:1],
}


@pytest.fixture
def publication() -> Publication:
    return Publication(Catalogue.of(HELD))


def records(publication: Publication, force: str = "gwent", month: Month = JULY) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(publication.answer(force, month).plain)
    return answer


def multiset(answer: list[dict[str, Any]]) -> Counter[str]:
    return Counter(json.dumps(record, sort_keys=True) for record in answer)


def listed(publication: Publication) -> dict[str, list[str]]:
    return {str(month): forces for month, forces in publication.listing()}


def test_a_hidden_month_is_as_not_yet_published_until_it_is_released(publication: Publication) -> None:
    publication.hide("2023-07")
    assert publication.newest == JUNE
    assert listed(publication) == {"2023-06": ["gwent"]}
    assert records(publication) == []
    publication.release("2023-07", "kent")
    assert listed(publication) == {"2023-07": ["kent"], "2023-06": ["gwent"]}
    publication.release("2023-07")
    assert listed(publication)["2023-07"] == ["gwent", "kent"]
    assert records(publication) == RECORDS


def test_a_cap_holds_later_months_back() -> None:
    publication = Publication(Catalogue.of(HELD), newest=JUNE)
    assert publication.newest == JUNE
    assert listed(publication) == {"2023-06": ["gwent"]}


def test_listing_and_answers_can_disagree(publication: Publication) -> None:
    publication.unlist("gwent", "2023-07")
    publication.list_also("surrey", "2023-07")
    publication.empty("kent", "2023-07")
    assert listed(publication)["2023-07"] == ["kent", "surrey"]
    assert records(publication) == RECORDS
    assert records(publication, "surrey") == records(publication, "kent") == []


def test_a_restated_month_drops_adds_and_alters(publication: Publication) -> None:
    before = multiset(records(publication))
    publication.change("gwent", "2023-07", drop=3, add=2, fields={"outcome": "Arrest"}, count=4)
    after = multiset(records(publication))
    assert (before - after).total() == 3 + 4
    assert (after - before).total() == 2 + 4
    publication.change("gwent", "2023-07", add=2)
    assert (multiset(records(publication)) - after).total() == 2, "added records never repeat each other"
    publication.restore("gwent", "2023-07")
    assert records(publication) == RECORDS


def test_a_column_can_go(publication: Publication) -> None:
    publication.change("gwent", "2023-07", without=["gender", "legislation"])
    assert all(len(record) == 14 for record in records(publication))


def test_another_order_has_the_same_records(publication: Publication) -> None:
    publication.reorder("gwent", "2023-07", "another")
    assert records(publication) != RECORDS
    assert multiset(records(publication)) == multiset(RECORDS)


@pytest.mark.parametrize("kind", ["records", "json", "csv", "path"])
def test_an_edition_takes_the_place_of_another(publication: Publication, kind: str, tmp_path: Path) -> None:
    other = [make_api_record(gender="Female")]
    path = tmp_path / "edition.csv"
    path.write_bytes(make_csv(other))
    content = {"records": other, "json": json.dumps(other).encode(), "csv": make_csv(other), "path": path}[kind]
    publication.replace("gwent", "2023-07", content)
    assert [record["gender"] for record in records(publication)] == ["Female"]


def test_what_was_never_held_can_be_published(publication: Publication) -> None:
    publication.replace("surrey", "2023-08", RECORDS)
    assert publication.newest == Month(2023, 8)
    assert listed(publication)["2023-08"] == ["surrey"]
    assert records(publication, "surrey", Month(2023, 8)) == RECORDS


def test_a_body_that_is_no_list_can_be_published(publication: Publication) -> None:
    publication.replace("gwent", "2023-07", b'{"message": "moved"}')
    assert publication.answer("gwent", JULY).plain == b'{"message": "moved"}'


def test_months_inside_the_span_are_listed_even_when_nothing_is_held_for_them() -> None:
    publication = Publication(Catalogue.of({("gwent", "2023-05"): [], ("gwent", "2023-07"): []}))
    assert listed(publication) == {"2023-07": ["gwent"], "2023-06": [], "2023-05": ["gwent"]}


def test_resetting_undoes_every_act(publication: Publication) -> None:
    publication.hide("2023-07", "kent")
    publication.unlist("gwent", "2023-06")
    publication.change("gwent", "2023-07", drop=1)
    publication.replace("surrey", "2023-09", RECORDS)
    publication.reset()
    assert listed(publication) == {"2023-07": ["gwent", "kent"], "2023-06": ["gwent"]}
    assert records(publication) == RECORDS


def test_answers_are_kept_up_to_so_many_bytes() -> None:
    size = len(Encoded.of(json.dumps(RECORDS).encode()).gzipped)
    held = {(f"force-{letter}", "2023-07"): RECORDS for letter in "abcdefgh"}
    publication = Publication(Catalogue.of(held), cache_bytes=4 * size)
    for force, _ in held:
        assert records(publication, force) == RECORDS
    ready = [force for force, _ in held if publication.is_ready(force, JULY)]
    assert 1 <= len(ready) <= 4
    assert ready[-1] == "force-h"


def test_preloading_makes_the_window_ready_and_nothing_before_it() -> None:
    publication = Publication(Catalogue.of(HELD), window=1)
    assert publication.preload() == 2
    assert publication.is_ready("gwent", JULY)
    assert not publication.is_ready("gwent", JUNE)
