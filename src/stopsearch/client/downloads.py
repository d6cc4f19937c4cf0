"""
Whole files: taken piece by piece, gone on with where they broke off, and held against their manifest at the end.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from stopsearch.client.answers import Row, Source, Table
from stopsearch.client.errors import BadArgument, BrokenAnswer, ProblemError, Unreachable
from stopsearch.client.frames import STOP_COLUMNS
from stopsearch.client.line import Line, Tries
from stopsearch.client.transport import Reply, Request


@dataclass(frozen=True, kw_only=True)
class Export(Source):
    """
    A file that was taken whole and checked. `meta` is its manifest: rows, bytes, sha256, columns, and so on.
    """

    path: Path
    meta: Mapping[str, Any] = field(repr=False)


class Download:
    """
    The bytes of one export, of one snapshot.
    """

    def __init__(self, line: Line, request: Request) -> None:
        self._line = line
        # As it is, so that it can be gone on with at any byte.
        self._request = replace(request, headers={"Accept-Encoding": "identity"})
        self._tries = Tries(line)
        self._reply: Reply | None = None
        self._etag = ""
        self._position = 0  # in the bytes of the answer that is being read
        self._taken = 0
        self._digest = hashlib.sha256()
        self.snapshot: dict[str, str] = {}

    async def begin(self) -> None:
        """
        Ask for it, unless it is being read.

        Raises:
            ProblemError: The server answered with a problem.
            Unreachable: There was no answer.
            BrokenAnswer: The answer is of another snapshot than an earlier try.
        """
        while self._reply is None:
            try:
                await self._open()
            except (ProblemError, Unreachable) as error:
                await self._tries.pause(error, self._request)

    async def read_piece(self) -> bytes:
        """
        Give the next piece; nothing at the end. Where the answer breaks off, the rest is asked for; a server that can't
        give it alone gives all, of which the part that is known is passed over.

        Raises:
            What `begin` does.
        """
        while True:
            await self.begin()
            assert self._reply is not None  # begun above
            try:
                piece = await self._reply.read_piece()
            except Unreachable as error:
                await self.close()
                await self._tries.pause(error, self._request)
                continue
            if not piece:
                return b""
            fresh = piece[max(0, self._taken - self._position) :]
            self._position += len(piece)
            if fresh:
                self._tries.begin_anew()
                self._taken += len(fresh)
                self._digest.update(fresh)
                return fresh

    async def check(self) -> dict[str, Any]:
        """
        Hold what was taken, to its end, against the manifest, and give that.

        Raises:
            BrokenAnswer: It has other bytes.
        """
        await self.close()
        path = f"{self._request.path}.manifest.json"
        manifest: dict[str, Any] = await self._line.ask(replace(self._request, path=path, headers={}))
        for name, value in (("bytes", self._taken), ("sha256", self._digest.hexdigest())):
            if manifest.get(name) != value:
                raise BrokenAnswer(
                    f"{self._request.path}: {name} {value} came, but the manifest says {manifest.get(name)}. "
                    "Something on the way changed it."
                )
        return manifest

    async def close(self) -> None:
        """
        Let go of the connection.
        """
        reply, self._reply = self._reply, None
        if reply is not None:
            await reply.close()

    async def _open(self) -> None:
        request = self._request
        if self._taken and self._etag:
            further = {"Range": f"bytes={self._taken}-", "If-Range": self._etag}
            request = replace(request, headers={**request.headers, **further})
        self._reply = reply = await self._line.open(request)
        found = reply.headers.get("stopsearch-snapshot", "")
        if not found or self.snapshot.get("id", found) != found:
            raise BrokenAnswer(
                f"{request.path}: the answer names no snapshot, or another. Is this a stopsearch server?"
            )
        if not self.snapshot:
            self.snapshot = {"id": found, "served_from": reply.headers.get("stopsearch-served-from", "")}
            # Whatever is served by then, a further try is for the same.
            query = [(name, value) for name, value in request.query if name not in ("as_of", "snapshot")]
            self._request = replace(self._request, query=[*query, ("snapshot", found)])
        self._etag = reply.headers.get("etag", "")
        self._position = _first_byte(reply) if reply.status == 206 else 0
        if self._position > self._taken:
            raise BrokenAnswer(f"{request.path}: a later part came than the one that was asked for.")


def _first_byte(reply: Reply) -> int:
    told = reply.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
    if not told.isdigit():
        raise BrokenAnswer("A part came that does not say which.")
    return int(told)


async def save_export(line: Line, request: Request, path: Path) -> Export:
    """
    Write an export to a file, which appears whole and checked, or not at all. An older file of this name is replaced.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise BadArgument(f"'{path}' is a folder, or its folder is not there.")
    partial = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        # A piece is written in less time than the next one takes to come, so that an event loop is not held up.
        with partial.open("xb") as file:
            manifest = await _take(Download(line, request), file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return Export(path=path, meta=manifest)


async def read_parquet(line: Line, request: Request) -> Table:
    """
    Read an export in Parquet as a frame, through the memory.
    """
    import polars

    body = io.BytesIO()
    manifest = await _take(Download(line, request), body)
    body.seek(0)
    return Export(path=Path(), meta=manifest).table(polars.read_parquet(body))


async def _take(download: Download, sink: BinaryIO) -> dict[str, Any]:
    try:
        while piece := await download.read_piece():
            sink.write(piece)
        return await download.check()
    finally:
        await download.close()


class LineRows:
    """
    The rows of an export in JSON lines, as they come. The whole is held against the manifest after the last row.
    """

    def __init__(self, line: Line, request: Request) -> None:
        self.meta: Mapping[str, Any] = {}
        self.columns = tuple(STOP_COLUMNS)
        self._download = Download(line, request)
        self._rest = b""
        self._lines: Iterator[bytes] = iter(())
        self._given = 0
        self._is_whole = False

    async def begin(self) -> None:
        """
        Ask for it.
        """
        await self._download.begin()
        self.meta = {"snapshot": self._download.snapshot}

    async def next_row(self) -> Row | None:
        """
        Give the next row; None at the end.

        Raises:
            BrokenAnswer: What came is not what the manifest says.
        """
        while not self._is_whole:
            for line in self._lines:
                self._given += 1
                row: Row = msgspec.json.decode(line)
                return row
            if piece := await self._download.read_piece():
                *whole, self._rest = (self._rest + piece).split(b"\n")
                self._lines = iter(whole)
            else:
                self.meta = await self._download.check()
                if self._rest or self._given != self.meta["rows"]:
                    raise BrokenAnswer(f"{self._given} rows came, but {self.meta['rows']} were promised.")
                self._is_whole = True
        return None

    async def close(self) -> None:
        """
        Let go of the connection.
        """
        await self._download.close()


async def line_rows(line: Line, request: Request) -> LineRows:
    """
    Ask for an export in JSON lines, and give its rows.
    """
    rows = LineRows(line, request)
    await rows.begin()
    return rows
