"""
What is published right now: the catalogue as it is listed and answered, with changes on order.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from stopsearch.domain.months import Month
from stopsearch.standin.catalogue import Catalogue, Key
from stopsearch.standin.changes import Change, changed
from stopsearch.standin.encoded import EMPTY, Encoded, EncodedCache
from stopsearch.standin.records import read_json

WINDOW_MONTHS = 36


class Publication:
    """
    The publisher's side: which force-months are listed, and which records answer for each.

    Acts (`hide`, `release`, `replace`, …) may come from any thread and show from the next request on. A force-month
    that is hidden is neither listed nor answered, as though it had not been published yet.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        newest: Month | None = None,
        window: int = WINDOW_MONTHS,
        cache_bytes: int = 128_000_000,
    ) -> None:
        """
        Publish a catalogue.

        Args:
            catalogue: What is held.
            newest: The newest month that is published; later ones are as though not published yet.
            window: The number of months, the newest included, that are listed and answered.
            cache_bytes: The most bytes of encoded answers that are kept.
        """
        self.catalogue = catalogue
        self.window = window
        self._cap = newest
        self._cache = EncodedCache(cache_bytes)
        self._acts = 0
        self._published_now: frozenset[Key] | None = None
        self._hidden: set[Key] = set()
        self._unlisted: set[Key] = set()
        self._also_listed: set[Key] = set()
        self._bodies: dict[Key, bytes] = {}
        self._changes: dict[Key, list[Change]] = {}
        self._orders: dict[Key, str] = {}
        self._lock = threading.RLock()

    # What is published

    @property
    def newest(self) -> Month | None:
        """
        Give the newest month that anything is published for; none where all is hidden.
        """
        with self._lock:
            return max((month for _, month in self._published()), default=None)

    @property
    def oldest(self) -> Month | None:
        """
        Give the first month of the window.
        """
        newest = self.newest
        return newest.plus(1 - self.window) if newest else None

    def listing(self) -> list[tuple[Month, list[str]]]:
        """
        Give the months of the window, newest first, each with the forces that are listed for it.

        A month inside the span of what is held has an entry even where no force is listed for it.
        """
        with self._lock:
            published = self._published()
            listed = (published - self._unlisted) | (self._also_listed - self._hidden)
            if not published:
                return []
            newest = max(month for _, month in published)
            oldest = max(min(month for _, month in published), newest.plus(1 - self.window))
            forces: dict[Month, list[str]] = {newest.plus(-n): [] for n in range(newest.ordinal - oldest.ordinal + 1)}
            for force, month in listed:
                if month in forces:
                    forces[month].append(force)
        return [(month, sorted(names)) for month, names in forces.items()]

    def answer(self, force: str, month: Month) -> Encoded:
        """
        Give what `stops-force` answers for a force and month of the window; an empty list where nothing is published.
        """
        key = (force, month)
        with self._lock:
            if key not in self._published():
                return EMPTY
            if encoded := self._cache.get(key):
                return encoded
            acts = self._acts
        # Not under the lock: a large month takes a tenth of a second, and others can be answered meanwhile.
        encoded = Encoded.of(self._body(key))
        with self._lock:
            if acts == self._acts:
                self._cache.keep(key, encoded)
        return encoded

    def is_ready(self, force: str, month: Month) -> bool:
        """
        Tell whether the answer needs no reading or converting.
        """
        with self._lock:
            return (force, month) in self._cache or (force, month) not in self._published()

    def preload(self) -> int:
        """
        Encode the window's answers ahead of time, newest months first, until the cache is full.

        Returns:
            The number of force-months that are ready.
        """
        oldest = self.oldest
        with self._lock:
            keys = sorted(self._published(), key=lambda key: key[1], reverse=True)
        for force, month in keys:
            if (oldest is not None and month < oldest) or self._cache.is_nearly_full:
                break
            self.answer(force, month)
        return len(self._cache)

    # Acts of the publisher

    def hide(self, month: Month | str, force: str | None = None) -> None:
        """
        Take a month, or one force's, as not yet published.
        """
        with self._lock:
            self._hidden |= {key for key in self._held() if _matches(key, month, force)}
            self._acted()

    def release(self, month: Month | str, force: str | None = None) -> None:
        """
        Publish what was hidden of a month, or one force's.
        """
        with self._lock:
            self._hidden -= {key for key in self._hidden if _matches(key, month, force)}
            self._acted()

    def unlist(self, force: str, month: Month | str) -> None:
        """
        Leave a force-month out of the listing, though it is still answered.
        """
        key = _key(force, month)
        with self._lock:
            self._also_listed.discard(key)
            self._unlisted.add(key)

    def list_also(self, force: str, month: Month | str) -> None:
        """
        List a force-month whether or not anything is held of it; where nothing is, it answers `[]`.
        """
        key = _key(force, month)
        with self._lock:
            self._unlisted.discard(key)
            self._also_listed.add(key)

    def empty(self, force: str, month: Month | str) -> None:
        """
        Answer `[]` for a force-month and keep it listed.
        """
        self.replace(force, month, b"[]")

    def replace(self, force: str, month: Month | str, content: bytes | Path | Sequence[dict[str, Any]]) -> None:
        """
        Answer for a force-month with other records: an answer's bytes, a stored answer, a CSV file or records.

        A force-month that is not held is published by this.
        """
        key = _key(force, month)
        if isinstance(content, str):
            raise TypeError("A force-month is replaced by bytes, a path or records, not by text.")
        if isinstance(content, Path):
            body = read_json(content)
        elif isinstance(content, bytes):
            body = content
        else:
            body = msgspec.json.encode(content)
        if not body.lstrip().startswith((b"[", b"{")):
            body = Catalogue.of({(force, str(month)): body}).read(*key)
        with self._lock:
            self._bodies[key] = body
            self._changes.pop(key, None)
            self._acted(key)

    def change(
        self,
        force: str,
        month: Month | str,
        *,
        drop: int = 0,
        add: int = 0,
        fields: dict[str, Any] | None = None,
        count: int = 1,
        without: Sequence[str] = (),
    ) -> None:
        """
        Restate a force-month, on top of what was changed before.

        Args:
            force: The force's id.
            month: The month.
            drop: How many records to leave out.
            add: How many new records to put in: copies of held ones at another time of the month.
            fields: New values by key, set in `count` records.
            count: How many records get them.
            without: Keys that are left out of every record.
        """
        key = _key(force, month)
        change = Change(drop=drop, add=add, fields=dict(fields or {}), count=count, without=tuple(without))
        with self._lock:
            self._changes.setdefault(key, []).append(change)
            self._acted(key)

    def reorder(self, force: str, month: Month | str, order: str) -> None:
        """
        Answer with the same records in another order, the same one for the same text.
        """
        key = _key(force, month)
        with self._lock:
            self._orders[key] = order
            self._acted(key)

    def restore(self, force: str, month: Month | str) -> None:
        """
        Answer with the held records again.
        """
        key = _key(force, month)
        with self._lock:
            for orders in (self._bodies, self._changes, self._orders):
                orders.pop(key, None)
            self._acted(key)

    def reset(self) -> None:
        """
        Undo every act: all that is held is published and listed, as it is held.
        """
        with self._lock:
            for key in set(self._bodies) | set(self._changes) | set(self._orders):
                self.restore(*key)
            for keys in (self._hidden, self._unlisted, self._also_listed):
                keys.clear()
            self._acted()

    def _held(self) -> set[Key]:
        return set(self.catalogue.keys) | set(self._bodies)

    def _published(self) -> frozenset[Key]:
        if self._published_now is None:
            held = self._held() - self._hidden
            self._published_now = frozenset(key for key in held if not self._cap or key[1] <= self._cap)
        return self._published_now

    def _acted(self, key: Key | None = None) -> None:
        self._acts += 1
        self._published_now = None
        if key is not None:
            self._cache.drop(key)

    def _body(self, key: Key) -> bytes:
        with self._lock:
            body, order = self._bodies.get(key), self._orders.get(key)
            changes = list(self._changes.get(key, ()))
        if body is None:
            body = self.catalogue.read(*key)
        if changes or order is not None:
            body = changed(body, changes, key=key, order=order)
        return body


def _key(force: str, month: Month | str) -> Key:
    return force, month if isinstance(month, Month) else Month.parse(month)


def _matches(key: Key, month: Month | str, force: str | None) -> bool:
    return str(key[1]) == str(month) and force in (None, key[0])
