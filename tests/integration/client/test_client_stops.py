"""
Stops by the client: each once over all pages, of one snapshot, and as frames with the right types.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas
import polars
import pytest

from builders.ingests import bring_one_in, edition
from builders.running_server import running_server
from builders.sample_rows import sample_rows
from builders.standin import make_api_record
from stopsearch.client import AsyncClient, BadArgument, Client, Rows
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

DURHAM = {"force": "durham", "from_": "2020-01", "to": "2020-02"}


def of_durham() -> list[dict[str, Any]]:
    """
    Give the same stops as the standard library reads them from the published files.
    """
    return [
        stop for stop in sample_rows().stops if stop["force"] == "durham" and stop["month"] in ("2020-01", "2020-02")
    ]


@pytest.mark.parametrize("page_size", [1, 7, 100, 1000])
def test_every_stop_comes_once_however_long_a_page_is(client: Client, page_size: int) -> None:
    rows = list(client.stops(**DURHAM, page_size=page_size, total=True))
    assert len({row["id"] for row in rows}) == len(rows) == len(of_durham())
    assert Counter(row["outcome"] for row in rows) == Counter(stop["outcome"] for stop in of_durham())
    assert [row["datetime"] for row in rows] == sorted(row["datetime"] for row in rows)


def test_all_stops_of_all_forces_come_once(client: Client) -> None:
    stops = client.stops(total=True, fields=["id", "force", "month"])
    ids, months = set(), Counter[tuple[str, str]]()
    for stop in stops:
        ids.add(stop["id"])
        months[stop["force"], stop["month"]] += 1
    assert len(ids) == stops.total == months.total()
    assert months == Counter((stop["force"], stop["month"]) for stop in sample_rows().stops)


def test_snapshot_meta_and_total_are_there_before_the_first_row(client: Client) -> None:
    stops = client.stops(**DURHAM, total=True)
    assert stops.total == len(of_durham())
    assert stops.snapshot is not None
    assert len(stops.snapshot.id) == 64
    assert stops.snapshot.served_from.utcoffset() is not None
    assert stops.snapshot.id[:12] in stops.citation
    assert "Open Government Licence" in stops.licence
    assert stops.coverage["held"] == 2
    assert client.stops(**DURHAM).total is None


def test_filters_of_each_kind_reach_the_server(client: Client) -> None:
    found = client.stops(
        force=("durham", "leicestershire"),
        datetime_from=datetime(2020, 2, 3, 12, tzinfo=UTC),
        datetime_before=date(2020, 2, 20),
        gender=["Male", "none"],
        located=True,
        bbox=(-3.0, 51.0, 0.0, 56.0),
        sort="-datetime",
        fields=["gender", "datetime", "latitude"],
    )
    rows = list(found)
    assert rows
    assert list(rows[0]) == ["gender", "datetime", "latitude"]
    assert {row["gender"] for row in rows} <= {"Male", None}
    times = [datetime.fromisoformat(row["datetime"]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert datetime(2020, 2, 3, 12, tzinfo=UTC) <= times[-1] <= times[0] < datetime(2020, 2, 20, tzinfo=UTC)


def test_a_walk_stays_in_its_snapshot_while_data_comes_in(own_stocked: Database, tmp_path: Path) -> None:
    """
    Half way through, a month of the same force is brought in and another is restated. A new walk sees both.
    """
    with running_server(own_stocked, data_dir=tmp_path) as url, Client(url) as client:
        before = [row["id"] for row in client.stops(**DURHAM)]
        walk = client.stops(**DURHAM, page_size=10)
        first = [next(walk)["id"] for _ in range(100)]
        record = make_api_record(datetime="2020-02-15T10:00:00+00:00")
        bring_one_in(own_stocked, edition([record], month="2020-02"))
        now = client.stops(**DURHAM)
        assert first + [row["id"] for row in walk] == before
        assert [row["id"] for row in now] != before
        assert now.snapshot is not None
        assert walk.snapshot is not None
        assert now.snapshot.id != walk.snapshot.id
        # What was is had again by the id of its snapshot, for one question or for all of a client.
        assert [row["id"] for row in client.stops(**DURHAM, snapshot=walk.snapshot.id)] == before
        with Client(url, snapshot=walk.snapshot.id[:12]) as of_then:
            assert [row["id"] for row in of_then.stops(**DURHAM)] == before
            assert [row["id"] for row in of_then.stops(**DURHAM, snapshot=now.snapshot.id)] != before


def test_polars_frame_has_types_and_says_what_it_is_cited_by(client: Client) -> None:
    stops = client.stops(**DURHAM)
    table = stops.to_polars()
    assert isinstance(table.frame, polars.DataFrame)
    assert table.frame.height == len(of_durham())
    types = dict(table.frame.schema)
    assert types["datetime"] == polars.Datetime("us", "UTC")
    assert types["local_date"] == polars.Date
    assert types["latitude"] == polars.Float64
    assert types["operation"] == types["is_month_doubled"] == polars.Boolean
    assert types["id"] == types["outcome"] == polars.String
    assert stops.snapshot is not None
    assert (table.snapshot, table.citation, table.licence) == (stops.snapshot.id, stops.citation, stops.licence)
    assert table.frame["datetime"].to_list() == sorted(stop["datetime"] for stop in of_durham())


def test_pandas_frame_has_types_and_carries_what_it_is_cited_by(client: Client) -> None:
    stops = client.stops(**DURHAM)
    frame = stops.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == len(of_durham())
    assert str(frame.dtypes["datetime"]) == "datetime64[us, UTC]"
    assert str(frame.dtypes["local_date"]) == "datetime64[s]"
    assert str(frame.dtypes["latitude"]) == "float64"
    assert str(frame.dtypes["operation"]) == "boolean"
    assert str(frame.dtypes["outcome"]) == "str"
    assert stops.snapshot is not None
    assert frame.attrs == {"snapshot": stops.snapshot.id, "citation": stops.citation, "licence": stops.licence}


def test_frames_without_a_row_have_the_same_columns_and_types(client: Client) -> None:
    def none() -> Rows:
        return client.stops(**DURHAM, outcome="Summons / charged by post", located=False, date_only=True)

    assert list(none()) == []
    some = client.stops(**DURHAM)
    assert none().to_polars().frame.schema == some.to_polars().frame.schema
    assert list(none().to_pandas().dtypes.items()) == list(client.stops(**DURHAM).to_pandas().dtypes.items())
    assert client.stops(force="kent", to="2019-12", fields="id").to_polars().frame.columns == ["id"]


def test_a_frame_is_of_all_rows_or_there_is_none(client: Client) -> None:
    stops = client.stops(**DURHAM)
    next(stops)
    with pytest.raises(BadArgument, match="1 rows have been taken"):
        stops.to_polars()


def test_the_awaiting_client_gives_the_same(client: Client, url: str) -> None:
    async def ask() -> tuple[list[Any], Any, Any]:
        async with AsyncClient(url) as other:
            stops = await other.stops(**DURHAM, page_size=50, total=True)
            rows = [row async for row in stops]
            assert stops.total == len(rows)
            table = await (await other.stops(**DURHAM)).to_polars()
            frame = await (await other.stops(**DURHAM)).to_pandas()
            return rows, table, frame

    rows, table, frame = asyncio.run(ask())
    assert rows == list(client.stops(**DURHAM))
    expected = client.stops(**DURHAM).to_polars()
    assert table.frame.equals(expected.frame)
    assert table[1:] == expected[1:]
    pandas.testing.assert_frame_equal(frame, client.stops(**DURHAM).to_pandas())
    assert frame.attrs == client.stops(**DURHAM).to_pandas().attrs


def test_two_tasks_on_one_walk_get_each_stop_once(url: str) -> None:
    async def ask() -> list[str]:
        async with AsyncClient(url) as client:
            stops = await client.stops(**DURHAM, page_size=5)

            async def take() -> list[str]:
                return [row["id"] async for row in stops]

            taken = await asyncio.gather(take(), take(), take())
            return [id for some in taken for id in some]

    taken = asyncio.run(ask())
    assert len(taken) == len(set(taken)) == len(of_durham())
