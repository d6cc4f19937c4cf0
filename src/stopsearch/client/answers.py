"""
What comes back: rows with the snapshot that they are of, how they are cited, and how they become a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from stopsearch.client.frames import pandas_frame, polars_frame

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]  # it brings no types
    import polars


Row = dict[str, Any]


class Table(NamedTuple):
    """
    A Polars frame with what it must be cited by: such a frame has no place for it.
    """

    frame: polars.DataFrame
    snapshot: str
    citation: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """
    A state of everything that is served: asked for by its id, it gives the same answers for ever.
    """

    id: str
    served_from: datetime  # the instant from which it was the current one


class Source:
    """
    What an answer says of itself.
    """

    if TYPE_CHECKING:  # each kind has it in its own way: a field, or a property

        @property
        def meta(self) -> Mapping[str, Any]:
            """
            Give all of it, as the server says it.
            """

    @property
    def snapshot(self) -> Snapshot | None:
        """
        Give the snapshot that it is of; None: it is of none, as what tells of the server itself.
        """
        told = self.meta.get("snapshot")
        if not isinstance(told, dict):
            return None
        return Snapshot(id=told["id"], served_from=datetime.fromisoformat(told["served_from"]))

    @property
    def coverage(self) -> Mapping[str, Any]:
        """
        Give what is held of what was asked for. A force-month that is missing is never zero stops.
        """
        coverage: Mapping[str, Any] = self.meta.get("coverage") or {}
        return coverage

    @property
    def citation(self) -> str:
        """
        Give a ready citation.
        """
        return str(self.meta.get("citation", ""))

    @property
    def licence(self) -> str:
        """
        Give the words by which the licence wants the source to be named.
        """
        licence = self.meta.get("licence")
        return str(licence.get("attribution", "")) if isinstance(licence, dict) else str(licence or "")

    def table(self, frame: polars.DataFrame) -> Table:
        """
        Put a frame together with what it is cited by.
        """
        found = self.snapshot
        return Table(frame=frame, snapshot=found.id if found else "", citation=self.citation, licence=self.licence)

    def attributes(self) -> dict[str, str]:
        """
        Give what a pandas frame carries along, in its `attrs`.
        """
        found = self.snapshot
        return {"snapshot": found.id if found else "", "citation": self.citation, "licence": self.licence}


@dataclass(frozen=True, kw_only=True)
class Answer(Source):
    """
    A whole answer. `data` is what the server says, as JSON has it: most often a list of rows.
    """

    data: Any
    meta: Mapping[str, Any] = field(repr=False)

    def __iter__(self) -> Iterator[Row]:
        """
        Give each row.
        """
        return iter(self._rows())

    def to_polars(self) -> Table:
        """
        Give the rows as a Polars frame, together with what it is cited by.
        """
        return self.table(polars_frame(self._rows()))

    def to_pandas(self) -> pandas.DataFrame:
        """
        Give the rows as a pandas frame, with snapshot, citation and licence in its `attrs`.
        """
        frame = pandas_frame(self._rows())
        frame.attrs |= self.attributes()
        return frame

    def _rows(self) -> list[dict[str, Any]]:
        return self.data if isinstance(self.data, list) else [self.data]
