"""
What is asked for is written as the server reads it, or refused before anything is sent.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Any, get_type_hints

import pytest

from stopsearch.client import BadArgument, Client
from stopsearch.client.frames import STOP_COLUMNS, Kind
from stopsearch.client.query import Filters, pairs_of
from stopsearch.domain.stop_columns import STOP_COLUMNS as SERVED_COLUMNS
from stopsearch.domain.stop_columns import ColumnType
from stopsearch.serve.parameters import FILTERS, MOMENT

pytestmark = pytest.mark.unit

NOON = datetime(2020, 2, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"force": "durham"}, [("force", "durham")]),
        ({"force": ["durham", "kent"]}, [("force", "durham"), ("force", "kent")]),
        ({"from_": "2020-01", "to": date(2020, 2, 29)}, [("from", "2020-01"), ("to", "2020-02")]),
        ({"from_": NOON}, [("from", "2020-02")]),
        ({"datetime_from": NOON}, [("datetime_from", "2020-02-01T12:00:00+00:00")]),
        ({"datetime_before": date(2020, 2, 1)}, [("datetime_before", "2020-02-01")]),
        ({"located": False, "total": True}, [("located", "false"), ("total", "true")]),
        ({"operation": "none"}, [("operation", "none")]),
        ({"bbox": (-1.2, 52.5, -1, 52.7)}, [("bbox", "-1.2,52.5,-1,52.7")]),
        ({"near": (0.00001, -1.5), "radius_m": 500}, [("near", "0.00001,-1.5"), ("radius_m", "500")]),
        ({"by": ("force", "month")}, [("by", "force,month")]),
        ({"gender": None, "force": None}, []),
    ],
)
def test_parameters_are_written_as_the_server_reads_them(given: dict[str, Any], sent: list[tuple[str, str]]) -> None:
    assert pairs_of(given) == sent


@pytest.mark.parametrize(
    "given",
    [
        {"datetime_from": datetime(2020, 2, 1)},  # noqa: DTZ001 - that it has no zone is the point
        {"from_": datetime(2020, 2, 1)},  # noqa: DTZ001
        {"gender": ["Male", None]},
        {"force": []},
        {"force": object()},
    ],
    ids=["naive datetime", "naive month", "None in a list", "empty list", "object"],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any]) -> None:
    """
    An empty list, above all, must not become a question without that filter: that asks for everything.
    """
    with pytest.raises(BadArgument):
        pairs_of(given)


def test_a_naive_datetime_is_told_what_to_do() -> None:
    with pytest.raises(BadArgument, match=r"no time zone.*ZoneInfo"):
        pairs_of({"as_of": datetime(2020, 2, 1)})  # noqa: DTZ001


def test_every_filter_of_the_server_is_one_of_the_client() -> None:
    served = {parameter.name for parameter in (*FILTERS, *MOMENT)}
    assert {name.removesuffix("_") for name in get_type_hints(Filters)} == served


def test_every_column_of_a_stop_has_its_type() -> None:
    kinds = {
        ColumnType.UUID: Kind.TEXT,
        ColumnType.TEXT: Kind.TEXT,
        ColumnType.MONTH: Kind.TEXT,
        ColumnType.INSTANT: Kind.INSTANT,
        ColumnType.DATE: Kind.DATE,
        ColumnType.DEGREES: Kind.NUMBER,
        ColumnType.BOOLEAN: Kind.BOOLEAN,
    }
    assert list(STOP_COLUMNS.items()) == [(column.name, kinds[column.type]) for column in SERVED_COLUMNS]


@pytest.mark.parametrize("address", ["", "localhost:8000", "ftp://localhost", "http://", "http://host/?a=b"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BadArgument, match="no address"):
        Client(address)


def test_an_instant_and_a_snapshot_can_not_both_be_asked_of() -> None:
    with pytest.raises(BadArgument, match="both"):
        Client("http://127.0.0.1:9", snapshot="0" * 64, as_of=NOON)


def test_methods_tell_what_they_do() -> None:
    """
    They are made of coroutines, and must still look like methods to whoever asks for help.
    """
    with Client("http://127.0.0.1:9") as client:
        for name in ("stops", "counts", "rates", "coverage", "changes", "ingest"):
            method = getattr(client, name)
            assert method.__name__ == name
            assert (inspect.getdoc(method) or "").endswith(".")


def test_it_brings_nothing_of_the_server_along_and_frames_only_when_asked() -> None:
    code = "import sys, stopsearch.client; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    ours = {name for name in loaded if name.startswith("stopsearch.")}
    assert {name for name in ours if not name.startswith("stopsearch.client")} == set()
    assert loaded & {"polars", "pandas", "psycopg", "fastapi", "sqlalchemy", "pydantic", "numpy"} == set()
