"""
Rows of fixed-width columns as PostgreSQL's binary COPY reads them, made by numpy for all rows at once.

Each row is a count of fields, then for each field its length and its bytes; a NULL is the length -1 and no bytes.
https://www.postgresql.org/docs/current/sql-copy.html (Binary Format). All rows are first laid out in one matrix of
bytes, as if nothing were NULL; then the bytes of the NULLs are left out by one mask. What it was
chosen over is in docs/decisions/0007-binary-copy.md.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from psycopg import Connection, sql

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_CHUNK = 1 << 20
_SEND_BUFFER_BYTES = 4 << 20

# The types that fixed-width columns may have, as big-endian numpy types.
BOOLEAN, SMALLINT, INTEGER, DOUBLE, DATE, TIMESTAMPTZ, UUID = "?", ">i2", ">i4", ">f8", ">i4", ">i8", "V16"

_EPOCH_DAYS = 10_957  # 1970-01-01 to 2000-01-01, PostgreSQL's own epoch
_EPOCH_US = _EPOCH_DAYS * 86_400_000_000


@dataclass(frozen=True, kw_only=True)
class Column:
    """
    One column of a table that rows are copied into.
    """

    name: str
    type: str
    is_nullable: bool = False


class CopyRows:
    """
    The rows of one COPY: columns are set one by one, and the bytes are made when they are sent.
    """

    def __init__(self, columns: Sequence[Column], height: int) -> None:
        self.columns = tuple(columns)
        parts: list[tuple[str, str]] = [("fields", ">i2")]
        for column in columns:
            parts += [(f"{column.name}_length", ">i4"), (column.name, column.type)]
        self._rows = np.zeros(height, dtype=parts)
        self._rows["fields"] = len(columns)
        self._absent: dict[str, npt.NDArray[np.bool_]] = {}
        for column in columns:
            self._rows[f"{column.name}_length"] = self._rows.dtype[column.name].itemsize

    def __len__(self) -> int:
        return len(self._rows)

    def set(self, name: str, values: object, absent: npt.NDArray[np.bool_] | None = None) -> None:
        """
        Set one column for all rows; where `absent` is true the value is NULL.
        """
        self._rows[name] = values
        if absent is not None and absent.any():
            self._absent[name] = absent
            self._rows[f"{name}_length"][absent] = -1

    def set_absent(self, name: str) -> None:
        """
        Set one column to NULL in all rows.
        """
        self.set(name, 0, np.ones(len(self._rows), dtype=np.bool_))

    def as_bytes(self) -> bytes:
        """
        Give the rows as the data of one COPY, header and trailer included.
        """
        rows = np.ascontiguousarray(self._rows)
        matrix = rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
        if not self._absent:
            return _HEADER + matrix.tobytes() + _TRAILER
        kept = np.ones(matrix.shape, dtype=np.bool_)
        offsets = rows.dtype.fields
        assert offsets is not None  # a structured type always has fields
        for name, absent in self._absent.items():
            start = offsets[name][1]
            kept[absent, start : start + rows.dtype[name].itemsize] = False
        return _HEADER + matrix[kept].tobytes() + _TRAILER

    def copy_into(self, connection: Connection, table: str) -> None:
        """
        Send the rows to a table.
        """
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(table), sql.SQL(", ").join(sql.Identifier(column.name) for column in self.columns)
        )
        data = memoryview(self.as_bytes())
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for start in range(0, len(data), _CHUNK):
                copy.write(data[start : start + _CHUNK])


def widen_send_buffer(connection: Connection) -> None:
    """
    Let more of a COPY wait in the system's buffer, so that the server has rows to go on with while Python is busy.

    The system clips the size to what it allows; the usual one holds 1,200 rows. In the one undisturbed round that
    was measured, a load of 200,000 rows took 2.05 s with it and 2.29 s without.
    """
    with socket.socket(fileno=os.dup(connection.fileno())) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def as_days(epoch_days: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """
    Turn days since 1970 into days since 2000, as which PostgreSQL keeps a date.
    """
    return epoch_days - np.int32(_EPOCH_DAYS)


def as_microseconds(epoch_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """
    Turn microseconds since 1970 into microseconds since 2000, as which PostgreSQL keeps an instant.
    """
    return epoch_us - np.int64(_EPOCH_US)
