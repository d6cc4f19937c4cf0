"""
A zip on a server, of which only the pieces that are needed are fetched, by range requests.
"""

from __future__ import annotations

import random
import re
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import IO, TypeVar
from urllib.parse import urlsplit

import httpx2

from stopsearch.domain.errors import BadPath, SourceUnavailable
from stopsearch.source.archive.byte_ranges import ByteRanges, DownloadedFile, join_spans
from stopsearch.source.archive.refusals import refused_archive
from stopsearch.source.http import user_agent
from stopsearch.source.retry import RetryPolicy, read_retry_after

T = TypeVar("T")

# The directory of 4,485 members, the publisher's usual, lies within it: so it comes with the first request.
_TAIL_BYTES = 1024 * 1024

# A gap this small is read through rather than skipped by a second request, which costs about as long.
_GAP_BYTES = 64 * 1024
_GROUP_BYTES = 4 * 1024 * 1024
_GROUPS_KEPT = 4

# Twice the publisher's largest archive (2017-04, 2.56 GB).
_LARGEST_DOWNLOAD_BYTES = 5 * 1024**3

_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 60.0

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)
_DOWNLOAD = "Download the file (for example with curl -L -O) and give its path instead."


class RemoteFile:
    """
    A file on a server that honours `Range`. Each answer is held against the first: no two are of different files.
    """

    def __init__(self, url: str, *, name: str, contact: str, policy: RetryPolicy) -> None:
        self._url = url
        self._name = name
        self._agent = user_agent(contact)
        self._policy = policy
        self._client: httpx2.Client | None = None
        self._target = url  # where the redirects ended
        self._size_bytes = 0
        self._validators: tuple[str | None, str | None] | None = None
        self._groups: list[tuple[int, int]] = []
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._tail: tuple[int, bytes] = (0, b"")

    @property
    def size_bytes(self) -> int:
        """
        Give the size of the whole file.
        """
        return self._size_bytes

    def open(self) -> ByteRanges:
        """
        Ask for the file's first byte, which tells its size and whether ranges are honoured.

        Returns:
            This file; or, where the server sends the whole file whatever is asked, that file downloaded.

        Raises:
            ArchiveRefused: There is no such file, or it can't be had.
            SourceUnavailable: The server gave no usable answer, however often it was asked.
        """
        downloaded = self._retried(self._probe)
        if downloaded is not None:
            self.close()
            return downloaded
        start = max(0, self._size_bytes - _TAIL_BYTES)
        self._tail = (start, self._fetch(start, self._size_bytes))
        return self

    def plan(self, spans: Sequence[tuple[int, int]]) -> None:
        """
        Join the pieces that lie near one another, to be fetched by one request each.
        """
        self._groups = join_spans(spans, gap_bytes=_GAP_BYTES, group_bytes=_GROUP_BYTES)

    def read_at(self, offset: int, length: int) -> bytes:
        """
        Give the bytes from an offset on; fewer than asked for only where the file ends.
        """
        end = min(offset + length, self._size_bytes)
        if end <= offset:
            return b""
        start, tail = self._tail
        if offset >= start:
            return tail[offset - start : end - start]
        for group in self._groups:
            if group[0] <= offset and end <= group[1]:
                return self._group(group)[offset - group[0] : end - group[0]]
        return self._fetch(offset, end)

    def close(self) -> None:
        """
        Close the connection and forget what was fetched ahead. A later read opens it again.
        """
        self._kept.clear()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _group(self, group: tuple[int, int]) -> bytes:
        if group not in self._kept:
            while len(self._kept) >= _GROUPS_KEPT:
                self._kept.popitem(last=False)
            self._kept[group] = self._fetch(*group)
        return self._kept[group]

    def _fetch(self, start: int, end: int) -> bytes:
        return self._retried(lambda: self._fetch_once(start, end))

    def _retried(self, call: Callable[[], T]) -> T:
        began = time.monotonic()
        attempt = 1
        while True:
            try:
                return call()
            except SourceUnavailable as error:
                wait_s = self._policy.wait_before_next(
                    error,
                    attempt=attempt,
                    spent_s=time.monotonic() - began,
                    chance=random.random(),  # nosec B311  # spreads retries, guards nothing
                )
                if wait_s is None:
                    raise
            time.sleep(wait_s)
            attempt += 1

    def _probe(self) -> DownloadedFile | None:
        with closing(self._request(self._url, {"Range": "bytes=0-0"})) as response:
            self._check_redirects(response)
            self._target = str(response.url)
            if response.status_code == 200:
                return self._download(response)
            *_, self._size_bytes = self._read_content_range(response)
            self._validators = _validators(response)
            return None

    def _fetch_once(self, start: int, end: int) -> bytes:
        headers = {"Range": f"bytes={start}-{end - 1}"}
        etag = (self._validators or (None, None))[0]
        if etag is not None and not etag.startswith("W/"):
            headers["If-Range"] = etag
        with closing(self._request(self._target, headers)) as response:
            if response.status_code == 200 or _validators(response) != self._validators:
                raise self._changed()
            if self._read_content_range(response) != (start, end - 1, self._size_bytes):
                raise self._changed()
            body = bytearray()
            try:
                for piece in response.iter_raw():
                    body += piece
                    if len(body) > end - start:
                        raise self._changed()
            except httpx2.HTTPError as error:
                raise self._broke_off(error) from error
        if len(body) != end - start:
            raise self._broke_off(None)
        return bytes(body)

    def _request(self, url: str, headers: dict[str, str]) -> httpx2.Response:
        client = self._client = self._client or self._connect()
        try:
            response = client.send(client.build_request("GET", url, headers=headers), stream=True)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.TooManyRedirects) as error:
            raise BadPath(
                f"{self._name} can't be fetched: {error}.",
                remedy="Look at the address and where it redirects to.",
            ) from error
        except httpx2.HTTPError as error:
            raise SourceUnavailable(
                f"{self._name} can't be fetched: {error or type(error).__name__}.",
                remedy="Look at the network and the address, or download the file and give its path.",
            ) from error
        status = response.status_code
        if status in (200, 206):
            return response
        response.close()
        if status == 416:
            raise refused_archive(
                self._name,
                "is empty, or shorter than it was when it was opened",
                remedy="Run the same command again.",
            )
        if status in (408, 425, 429) or status >= 500:
            raise SourceUnavailable(
                f"{self._name} can't be fetched: the server answered {status}.",
                status=status,
                retry_after_s=read_retry_after(response.headers.get("Retry-After"), datetime.now(UTC)),
            )
        raise refused_archive(
            self._name,
            f"can't be fetched: the server answered {status}",
            remedy="Look at the address; https://data.police.uk/data/archive/ lists the archives.",
        )

    def _connect(self) -> httpx2.Client:
        return httpx2.Client(
            # Anything but identity would make ranges count packed bytes.
            headers={"User-Agent": self._agent, "Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
            follow_redirects=True,  # data.police.uk sends on to where its archives are stored
        )

    def _check_redirects(self, response: httpx2.Response) -> None:
        if urlsplit(self._url).scheme == "https" and response.url.scheme != "https":
            raise refused_archive(
                self._name,
                "is redirected from https to an address that is not",
                remedy="Look at the address.",
            )

    def _read_content_range(self, response: httpx2.Response) -> tuple[int, int, int]:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None:
            raise refused_archive(
                self._name, "comes from a server that answers range requests wrongly", remedy=_DOWNLOAD
            )
        first, last, size_bytes = (int(group) for group in match.groups())
        return first, last, size_bytes

    def _download(self, response: httpx2.Response) -> DownloadedFile:
        declared = response.headers.get("Content-Length")
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as what is returned
        size_bytes = 0
        try:
            for piece in response.iter_raw():
                size_bytes += file.write(piece)
                if size_bytes > _LARGEST_DOWNLOAD_BYTES:
                    file.close()
                    raise refused_archive(
                        self._name,
                        "is larger than any archive, and its server honours no ranges",
                        remedy=_DOWNLOAD,
                    )
        except httpx2.HTTPError as error:
            file.close()
            raise self._broke_off(error) from error
        except OSError as error:
            file.close()
            raise refused_archive(
                self._name,
                f"can't be kept on disk ({error.strerror}), and its server honours no ranges",
                remedy=f"Make room in {tempfile.gettempdir()}, or set TMPDIR. {_DOWNLOAD}",
            ) from error
        if declared is not None and declared.isdigit() and int(declared) != size_bytes:
            file.close()
            raise self._broke_off(None)
        return DownloadedFile(file, size_bytes=size_bytes)

    def _broke_off(self, error: Exception | None) -> SourceUnavailable:
        return SourceUnavailable(f"The answer for {self._name} broke off{f': {error}' if str(error or '') else ''}.")

    def _changed(self) -> Exception:
        return refused_archive(
            self._name, "changed on the server while it was being read", remedy="Run the same command again."
        )


def _validators(response: httpx2.Response) -> tuple[str | None, str | None]:
    return response.headers.get("ETag"), response.headers.get("Last-Modified")
