"""
Answers ready to send, and a bounded store of them.
"""

from __future__ import annotations

import gzip
from collections import OrderedDict
from dataclasses import dataclass

from stopsearch.standin.catalogue import Key


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """
    A JSON answer kept gzipped, which is how nearly every client asks for it and a tenth of its size.
    """

    gzipped: bytes

    @classmethod
    def of(cls, body: bytes) -> Encoded:
        """
        Compress a JSON body; the same body gives the same bytes.
        """
        # Level 1: it takes half the time of the default, and loopback has bytes to spare.
        return cls(gzipped=gzip.compress(body, compresslevel=1, mtime=0))

    @property
    def plain(self) -> bytes:
        """
        Give the JSON body.
        """
        return gzip.decompress(self.gzipped)


EMPTY = Encoded.of(b"[]")


class EncodedCache:
    """
    The answers used last, up to so many bytes.
    """

    def __init__(self, max_bytes: int) -> None:
        self._answers: OrderedDict[Key, Encoded] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._answers

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def is_nearly_full(self) -> bool:
        """
        Tell whether one more large answer might push another out.
        """
        return self._bytes > self._max_bytes * 0.9

    def get(self, key: Key) -> Encoded | None:
        """
        Give an answer if it is kept.
        """
        if key in self._answers:
            self._answers.move_to_end(key)
        return self._answers.get(key)

    def keep(self, key: Key, answer: Encoded) -> None:
        """
        Keep an answer, and let those go that were used longest ago where there is no room.
        """
        self.drop(key)
        self._answers[key] = answer
        self._bytes += len(answer.gzipped)
        while self._bytes > self._max_bytes and self._answers:
            self._bytes -= len(self._answers.popitem(last=False)[1].gzipped)

    def drop(self, key: Key) -> None:
        """
        Let an answer go.
        """
        if answer := self._answers.pop(key, None):
            self._bytes -= len(answer.gzipped)
