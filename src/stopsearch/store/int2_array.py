"""
Arrays of smallints, bound to a statement as bytes that are made once.

Imported with `store.database`: a connection knows only the types that were registered when it was made.
"""

from __future__ import annotations

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

INT2 = 21
_INT2_ARRAY = 1005


class Int2Array:
    """
    An array of smallints as PostgreSQL takes it in binary.
    """

    def __init__(self, binary: bytes) -> None:
        self.binary = binary


class _Int2ArrayDumper(Dumper):
    format = Format.BINARY
    oid = _INT2_ARRAY

    def dump(self, obj: Int2Array) -> bytes:
        return obj.binary


psycopg.adapters.register_dumper(Int2Array, _Int2ArrayDumper)
