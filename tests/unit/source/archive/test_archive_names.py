"""
What names tell, and which are refused.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stopsearch.domain.errors import ArchiveRefused, BadPath, MemberRefused
from stopsearch.domain.months import Month
from stopsearch.source.archive.byte_ranges import join_spans
from stopsearch.source.archive.names import check_path, name_of_address, published_at, read_member_name
from stopsearch.source.archive.refusals import RefusedMember

pytestmark = pytest.mark.unit

NEWEST = Month(2024, 6)
NOW = datetime(2024, 6, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "force", "month", "holds_stops"),
    [
        ("2020-01/2020-01-durham-stop-and-search.csv", "durham", Month(2020, 1), True),
        ("2020-01/2020-01-devon-and-cornwall-stop-and-search.csv", "devon-and-cornwall", Month(2020, 1), True),
        ("2020-01-btp-stop-and-search.csv", "btp", Month(2020, 1), True),
        ("2020-01/2020-01-avon-and-somerset-street.csv", "avon-and-somerset", Month(2020, 1), False),
        ("2020-01/2020-01-stop-and-search-street.csv", "stop-and-search", Month(2020, 1), False),
        ("2020-01/2020-01-northern-ireland-outcomes.csv", "northern-ireland", Month(2020, 1), False),
        ("2024-06/2024-06-newshire-stop-and-search.csv", "newshire", Month(2024, 6), True),
    ],
)
def test_reads_force_and_month(name: str, force: str, month: Month, holds_stops: bool) -> None:
    told = read_member_name("a.zip", name, newest=NEWEST)

    assert told is not None
    assert (told.force, told.month, told.holds_stops) == (force, month, holds_stops)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("2020-02/2020-01-durham-stop-and-search.csv", "lies in the folder '2020-02'"),
        ("other/2020-01-durham-stop-and-search.csv", "lies in the folder 'other'"),
        ("x/2020-01/2020-01-durham-stop-and-search.csv", "deeper"),
        ("2020-13/2020-13-durham-stop-and-search.csv", "wrong name"),
        ("2020-01/2020-01-DURHAM-stop-and-search.csv", "wrong name"),
        ("2020-01/2020-01-dur ham-stop-and-search.csv", "wrong name"),
        ("2020-01/2020-01-stop-and-search.csv", "not named"),
        ("2020-01/2020-01-durham-stop-and-search.csv.exe", "not named"),
        ("2020-01/2020-01-durham-stops.csv", "not named"),
        ("٢٠٢٠-01/٢٠٢٠-01-durham-stop-and-search.csv", "not named"),
        ("readme.txt", "not named"),
        ("2024-07/2024-07-durham-stop-and-search.csv", "future"),
    ],
)
def test_refuses_other_names(name: str, reason: str) -> None:
    with pytest.raises(MemberRefused, match=reason):
        read_member_name("a.zip", name, newest=NEWEST)


def test_loose_files_may_lie_in_any_folder_but_another_months() -> None:
    told = read_member_name("f", "any/where/2020-01-durham-stop-and-search.csv", newest=NEWEST, is_deep=True)
    assert told is not None

    with pytest.raises(MemberRefused, match="2019-12"):
        read_member_name("f", "x/2019-12/2020-01-durham-stop-and-search.csv", newest=NEWEST, is_deep=True)


@pytest.mark.parametrize("name", ["__MACOSX/2020-01/._2020-01-durham-stop-and-search.csv", "2020-01/.DS_Store"])
def test_passes_over_what_macos_leaves_behind(name: str) -> None:
    assert read_member_name("a.zip", name, newest=NEWEST) is None


@pytest.mark.parametrize(
    "name",
    [
        "/etc/2020-01-durham-stop-and-search.csv",
        "../2020-01/2020-01-durham-stop-and-search.csv",
        "2020-01/../2020-01-durham-stop-and-search.csv",
        "2020-01\\2020-01-durham-stop-and-search.csv",
        "C:/2020-01/2020-01-durham-stop-and-search.csv",
        "2020-01/2020-01-durham-stop-and-search.csv\0.exe",
        "2020-01/\x1b[2J2020-01-durham-stop-and-search.csv",
        "",
    ],
)
def test_refuses_path_tricks(name: str) -> None:
    with pytest.raises(RefusedMember) as caught:
        check_path("a.zip", name)

    assert str(caught.value).isprintable()


def test_a_zip_named_for_a_month_ranks_as_its_end() -> None:
    rank = published_at("2020-02.zip", newest_member=Month(2019, 12), now=NOW)

    assert rank == datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("name", ["latest.zip", "2020-02 (1).zip", "loose", "2020-13.zip", "x2020-02.zip"])
def test_any_other_name_ranks_as_the_end_of_its_newest_month(name: str) -> None:
    assert published_at(name, newest_member=Month(2019, 12), now=NOW) == Month(2019, 12).end


def test_refuses_an_archive_of_the_future() -> None:
    with pytest.raises(ArchiveRefused, match="future"):
        published_at("2999-01.zip", newest_member=Month(2019, 12), now=NOW)


def test_names_an_address_without_its_query() -> None:
    assert name_of_address("https://user:pass@example.org/archive/2020%2D02.zip?key=secret#x") == "2020-02.zip"


@pytest.mark.parametrize("url", ["https://", "http:///2020-02.zip", "https://example.org/", "http://[::1/a.zip"])
def test_refuses_an_address_of_no_file(url: str) -> None:
    with pytest.raises(BadPath):
        name_of_address(url)


def test_joins_near_spans_up_to_a_size() -> None:
    spans = [(100, 200), (0, 90), (205, 300), (1000, 1100), (1100, 1400)]

    assert join_spans(spans, gap_bytes=10, group_bytes=350) == [(0, 300), (1000, 1100), (1100, 1400)]
    assert join_spans([], gap_bytes=10, group_bytes=350) == []
