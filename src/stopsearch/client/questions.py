"""
The questions that a server answers, each written once for both clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Unpack
from urllib.parse import quote

from stopsearch.client.answers import Answer, Table
from stopsearch.client.downloads import Export, LineRows, line_rows, read_parquet, save_export
from stopsearch.client.frames import STOP_COLUMNS
from stopsearch.client.line import Line
from stopsearch.client.pages import PageRows, ask_answer, page_rows
from stopsearch.client.query import Filters, Instant, Moment, Month, Months, Words, pairs_of
from stopsearch.client.rows import row_question
from stopsearch.client.sides import shared
from stopsearch.client.transport import Request


class Questions:
    """
    What can be asked of a server. Parameters have the server's names, but for `from_`, which Python keeps to itself.

    Months are texts (`2020-02`) or any day in them; instants are texts, datetimes with their zone, or dates. Every
    question may say of which state it is asked, by `as_of` or `snapshot`; else it is that of the client, or of now.

    Every one raises:
        ProblemError: The server answered with a problem, which says what to do.
        Unreachable: There was no whole answer, also after some tries.
        BrokenAnswer: The answer is not what it says it is.
        BadArgument: What was asked for can't be sent, say a datetime without its zone.
    """

    line: Line

    @row_question
    async def stops(
        self,
        *,
        sort: str | None = None,
        fields: Iterable[str] | None = None,
        total: bool = False,
        page_size: int = 1000,
        **filters: Unpack[Filters],
    ) -> PageRows:
        """
        Give the stops that a filter lets through, by time, over all pages.

        Args:
            sort: "datetime" (the default) or "-datetime", the latest first.
            fields: Some of the columns, in the order that they are wanted in.
            total: Whether the exact number of all is told beforehand.
            page_size: Stops a page, 1,000 at most.
        """
        columns = [fields] if isinstance(fields, str) else list(fields or ())
        further = {"sort": sort, "fields": columns or None, "total": total or None, "limit": page_size}
        return await page_rows(
            self.line, self._asking("/v1/stops", {**filters, **further}), columns or list(STOP_COLUMNS)
        )

    @shared
    async def stop(self, id: str, **moment: Unpack[Moment]) -> Answer:
        """
        Give one stop by its id, with its history.
        """
        return await ask_answer(self.line, self._asking(f"/v1/stops/{_part(id)}", moment))

    @shared
    async def counts(self, *, by: Words = (), **filters: Unpack[Filters]) -> Answer:
        """
        Count stops, in all or by up to three groups; combinations without a stop have no row.

        Args:
            by: Of force, month, quarter, year, hour, weekday, outcome_group, and so on: `/docs` lists them.
        """
        grouped = [by] if isinstance(by, str) else list(by)
        return await ask_answer(self.line, self._asking("/v1/counts", {**filters, "by": grouped or None}))

    @shared
    async def rates(
        self,
        *,
        measure: str | None = None,
        ethnicity: str | None = None,
        reference: str | None = None,
        census_year: int | None = None,
        override: Words | None = None,
        **months: Unpack[Months],
    ) -> Answer:
        """
        Give rates of stops by ethnic group and force, their ratios against a reference group, and their intervals.

        Args:
            measure: "residents" (the default): stops by 1,000 residents; "find": stops that found something.
            ethnicity: Whose word it is: "self" (the default) or "officer".
            reference: The group that the others are held against.
            census_year: The census that counted the residents: 2021 (the default) or 2011.
            override: Reasons in spite of which figures are wanted: gap, few_stops.
        """
        own = {
            "measure": measure,
            "ethnicity": ethnicity,
            "reference": reference,
            "census_year": census_year,
            "override": override,
        }
        return await ask_answer(self.line, self._asking("/v1/rates", {**months, **own}))

    @shared
    async def coverage(self, **months: Unpack[Months]) -> Answer:
        """
        Give what is held and what is missing: one row a force-month. A missing one is never zero stops.
        """
        return await ask_answer(self.line, self._asking("/v1/coverage", months))

    @shared
    async def revisions(
        self,
        *,
        since: Instant | None = None,
        cause: Words | None = None,
        standing: Words | None = None,
        only_changes: bool | None = None,
        sort: str | None = None,
        **months: Unpack[Months],
    ) -> Answer:
        """
        Give the revisions that had arrived, the newest first.

        Args:
            since: Only those that came after it: an instant, or the id of a snapshot.
            cause: Only those made for these reasons: upstream, rules, replay, revert.
            standing: "served", or "historic" for older editions that arrived late.
            only_changes: Leave out the first revision of each force-month.
            sort: "-arrival" (the default) or "arrival", the oldest first.
        """
        own = {"since": since, "cause": cause, "standing": standing, "only_changes": only_changes, "sort": sort}
        return await ask_answer(self.line, self._asking("/v1/revisions", {**months, **own, "limit": 1000}))

    @shared
    async def snapshots(self, *, before: Instant | None = None) -> Answer:
        """
        Give the snapshots that can be asked for by their ids, the newest first.

        Args:
            before: Only those that were first served before it.
        """
        return await ask_answer(
            self.line, Request(path="/v1/snapshots", query=pairs_of({"before": before, "limit": 200}))
        )

    @row_question
    async def changes(self, *, since: str, page_size: int = 1000, **months: Unpack[Months]) -> PageRows:
        """
        Give the stops that were added and withdrawn since a snapshot, over all pages, for whoever keeps a copy.

        Taking the withdrawn ones out by id, and then putting the added ones in, leads to the snapshot of the answer.

        Args:
            since: The id of the snapshot that the copy is of.
        """
        parameters = {**months, "since": since, "limit": page_size}
        return await page_rows(self.line, self._asking("/v1/changes", parameters), ["change", *STOP_COLUMNS])

    @shared
    async def export(self, format: str, path: str | Path, **filters: Unpack[Filters]) -> Export:
        """
        Write all stops that a filter lets through to a file, which appears whole and checked, or not at all.

        It is taken as a stream, in constant memory; where it breaks off, it is gone on with. Its bytes are held against
        the manifest: the same snapshot and filters give the same bytes for ever.

        Args:
            format: csv, ndjson, geojson or parquet.
            path: The file; an older one of this name is replaced.
        """
        return await save_export(self.line, self._asking(f"/v1/exports/stops.{_part(format)}", filters), Path(path))

    @row_question
    async def export_rows(self, **filters: Unpack[Filters]) -> LineRows:
        """
        Give all stops that a filter lets through, by force, month and time, from one stream, in constant memory.

        That all of them came is only known after the last: a loop that ends without an error had every one.
        """
        return await line_rows(self.line, self._asking("/v1/exports/stops.ndjson", filters))

    @shared
    async def export_polars(self, **filters: Unpack[Filters]) -> Table:
        """
        Give all stops that a filter lets through as a Polars frame, by way of Parquet: the quickest for very many.
        """
        return await read_parquet(self.line, self._asking("/v1/exports/stops.parquet", filters))

    @shared
    async def forces(self, **moment: Unpack[Moment]) -> Answer:
        """
        Give the police forces, and what is held of each.
        """
        return await ask_answer(self.line, self._asking("/v1/forces", moment))

    @shared
    async def vocabulary(self, **moment: Unpack[Moment]) -> Answer:
        """
        Give the labels of every field, in the publisher's words.
        """
        return await ask_answer(self.line, self._asking("/v1/vocabulary", moment))

    @shared
    async def ingest(
        self,
        *,
        force: Words = (),
        from_: Month | None = None,
        to: Month | None = None,
        source: str = "api",
        archives: Iterable[str] = (),
        recheck: bool = False,
    ) -> Answer:
        """
        Have the server bring in what is due of what is asked for. Needs the token.

        Returns:
            The batch as it was queued; `ingestion` looks at it again.

        Args:
            force: The forces; none: those of the server's settings.
            source: "api", or "archive" for files in the server's folder of archives, by their names in `archives`.
            recheck: Look again at months that are held, for revisions.
        """
        months = dict(pairs_of({"from_": from_, "to": to}))
        body: dict[str, Any] = {
            "forces": [force] if isinstance(force, str) else list(force),
            **months,
            "source": source,
            "archives": list(archives),
            "recheck": recheck,
        }
        return await ask_answer(
            self.line, Request(path="/v1/ingestions", method="POST", json=body, headers=self.line.authorized())
        )

    @shared
    async def ingestion(self, id: int) -> Answer:
        """
        Look at a batch, and at its runs. Needs the token.
        """
        return await ask_answer(self.line, Request(path=f"/v1/ingestions/{id:d}", headers=self.line.authorized()))

    @shared
    async def cancel_ingestion(self, id: int) -> Answer:
        """
        End a batch, whoever runs it: what was brought in stays. Needs the token.
        """
        path = f"/v1/ingestions/{id:d}/cancel"
        return await ask_answer(self.line, Request(path=path, method="POST", headers=self.line.authorized()))

    @shared
    async def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """
        Ask for anything else that the server describes at `/docs`, over all pages: `/v1/quality`, say.
        """
        return await ask_answer(self.line, self._asking(path, parameters or {}))

    def _asking(self, path: str, parameters: Mapping[str, Any]) -> Request:
        query = pairs_of(parameters)
        if not any(name in ("as_of", "snapshot") for name, _ in query):
            query += self.line.moment
        return Request(path=path, query=query)


def _part(text: str) -> str:
    return quote(text, safe="")
