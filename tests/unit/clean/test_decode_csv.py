"""
Archive members, whole and broken, become source records.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_quoted_value_may_hold_a_comma_and_a_quote() -> None:
    source = decode_csv(csv_body({"operation_name": 'Op "A", B'}, {}))
    assert source.frame["operation_name"].to_list() == ['Op "A", B', None]
    assert source.unreadable == {}


def test_a_line_end_ends_the_record_even_within_quotes() -> None:
    source = decode_csv(csv_body({"operation_name": "Op A\nB"}, {"gender": "Female"}))
    assert source.unreadable == {1: "bad_quote", 2: "wrong_column_count"}
    assert source.frame["gender"].to_list() == [None, None, "Female"]


@pytest.mark.parametrize("count", [300, 3_000])  # the second is more than the field limit of Python's csv module
@pytest.mark.parametrize("place", [10, None])
def test_a_quote_that_is_never_closed_swallows_no_other_record(count: int, place: int | None) -> None:
    lines = csv_body(*[{"operation_name": "Op A"}] * count).splitlines()
    at = place or count
    lines[at] = lines[at].replace(b"Op A", b'"Op A')
    source = decode_csv(b"\n".join([*lines, b""]))
    assert len(source) == count
    assert source.unreadable == {at: "bad_quote"}
    assert json.loads(source.raw([at])[0]) == lines[at].decode()
    assert source.frame["operation_name"].to_list() == [None if n == at else "Op A" for n in range(1, count + 1)]


def test_a_value_of_any_length_is_read() -> None:
    source = decode_csv(csv_body({"operation_name": "A" * 200_000}, {"operation_name": '"'}))
    assert source.frame["operation_name"].to_list() == ["A" * 200_000, '"']


def test_a_lone_carriage_return_or_a_nul_is_part_of_its_value() -> None:
    body = csv_body({"operation_name": "Op@A"}, {})
    for odd in ("\r", "\0"):
        source = decode_csv(body.replace(b"@", odd.encode()))
        assert source.frame["operation_name"].to_list() == [f"Op{odd}A", None]
        assert json.loads(source.raw([1])[0])["Part of a policing operation"] == ""


@pytest.mark.parametrize("quoted", [b'"Type"', b'"Type', b'Ty"pe', b"Ty\rpe", b"Ty\xffpe", b'"' + b"T" * 200_000])
def test_an_odd_header_is_read_or_refused(quoted: bytes) -> None:
    body = csv_body({}).replace(b"Type", quoted, 1)
    if quoted == b'"Type"':
        assert decode_csv(body).frame.equals(decode_csv(csv_body({})).frame)
    else:
        with pytest.raises(SourceShapeChanged, match="Type"):
            decode_csv(body)


_MANGLED = st.lists(
    st.sampled_from([b'"', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b" ", b"\xc3\xa9", b"A", b"\xe2\x80\xa8"])
    | st.binary(max_size=3)
    | st.just(csv_body({}).splitlines()[1]),
    max_size=40,
).map(b"".join)


@given(_MANGLED)
def test_every_line_that_is_not_blank_is_a_record(mangled: bytes) -> None:
    header = csv_body().splitlines()[0]
    source = decode_csv(header + b"\n" + mangled)
    lines = [line for line in mangled.split(b"\n") if line.strip(b"\r")]
    assert len(source) == len(lines)
    assert source.frame["record_number"].to_list() == list(range(1, len(lines) + 1))
    for raw in source.raw(range(1, len(lines) + 1)):
        json.loads(raw.encode())


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
