"""
Archive members, whole and broken, become source records.
"""

from __future__ import annotations

import json

import pytest

from builders.source_bodies import api_record, csv_body, json_body
from stopsearch.clean.decode_csv import decode_csv
from stopsearch.clean.decode_json import decode_json
from stopsearch.domain.errors import SourceShapeChanged
from stopsearch.domain.stops import ARCHIVE_COLUMNS

pytestmark = pytest.mark.unit


def test_reads_what_the_api_would_give() -> None:
    csv, answer = (
        decode_csv(csv_body({}, {"gender": None})),
        decode_json(json_body(api_record(), api_record(gender=""))),
    )
    assert csv.frame.equals(answer.frame)


def test_line_ends_make_no_difference() -> None:
    lf, crlf = (decode_csv(csv_body({}, {"gender": None}, newline=newline)) for newline in ("\n", "\r\n"))
    assert lf.frame.equals(crlf.frame)
    assert crlf.frame["removal_of_more_than_outer_clothing"].to_list() == ["False", "False"]


def test_a_last_line_without_its_end_is_a_record() -> None:
    assert len(decode_csv(csv_body({}, {}).rstrip(b"\n"))) == 2


def test_a_header_alone_is_no_record() -> None:
    assert len(decode_csv(csv_body())) == 0


def test_columns_may_come_in_another_order() -> None:
    turned = dict(reversed(ARCHIVE_COLUMNS.items()))
    assert decode_csv(csv_body({}, columns=turned)).frame.equals(decode_csv(csv_body({})).frame)


def test_a_column_that_is_gone_fails_the_month() -> None:
    fewer = {name: field for name, field in ARCHIVE_COLUMNS.items() if field != "gender"}
    with pytest.raises(SourceShapeChanged, match="Gender"):
        decode_csv(csv_body({}, columns=fewer))


@pytest.mark.parametrize("body", [b"", b"\n", b"<html>\n</html>\n"])
def test_a_file_without_the_header_fails_the_month(body: bytes) -> None:
    with pytest.raises(SourceShapeChanged, match="no column"):
        decode_csv(body)


def test_a_quoted_value_may_hold_a_comma_and_a_line_end() -> None:
    source = decode_csv(csv_body({"operation_name": 'Op "A",\nB'}, {}))
    assert source.frame["operation_name"].to_list() == ['Op "A",\nB', None]


@pytest.mark.parametrize("line", [b"too,few", b"x," * 20])
def test_a_ragged_line_is_named_by_its_number_and_the_rest_goes_on(line: bytes) -> None:
    header, first, second = csv_body({}, {"gender": "Female"}).splitlines()
    source = decode_csv(b"\n".join([header, first, line, second, b""]))
    assert source.unreadable == {2: "wrong_column_count"}
    assert source.frame["gender"].to_list() == ["Male", None, "Female"]
    assert json.loads(source.raw([2])[0]) == line.decode().split(",")


def test_a_ragged_line_is_found_where_another_makes_up_for_its_commas() -> None:
    header, line = csv_body({}).splitlines()
    source = decode_csv(b"\n".join([header, line + b",", line.rsplit(b",", 1)[0], b""]))
    assert source.unreadable == {1: "wrong_column_count", 2: "wrong_column_count"}


def test_a_byte_that_is_no_utf8_rejects_its_record_only() -> None:
    body = csv_body({}, {"operation_name": "Caf"}).replace(b"Caf", b"Caf\xe9")
    source = decode_csv(body)
    assert source.unreadable == {2: "not_utf8"}
    assert "Caf\\\\xe9" in source.raw([2])[0]
    assert source.frame["gender"].to_list() == ["Male", None]


def test_gives_a_rejected_record_back_by_the_archives_columns() -> None:
    raw = json.loads(decode_csv(csv_body({}, {"gender": "Robot"})).raw([2])[0])
    assert raw["Gender"] == "Robot"
    assert list(raw) == list(ARCHIVE_COLUMNS)


def test_an_extra_column_is_counted_and_ignored() -> None:
    lines = csv_body({}, {}).splitlines()
    body = b"\n".join([lines[0] + b",Officer", lines[1] + b",4711", lines[2] + b",", b""])
    source = decode_csv(body)
    assert source.extra_keys == {"Officer": 2}
    assert source.frame.equals(decode_csv(csv_body({}, {})).frame)
