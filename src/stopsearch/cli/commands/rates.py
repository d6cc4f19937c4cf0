"""
`stopsearch rates`: stops by residents, and find rates.
"""

from __future__ import annotations

from typing import Annotated

import typer

from stopsearch.cli.arguments import AsJson, Forces, From, To
from stopsearch.cli.asked_stops import AsOf, InSnapshot, opened_question
from stopsearch.cli.figures import coverage_line, meta_of, show_figures
from stopsearch.cli.opening import begin
from stopsearch.cli.terminal import note, safe, say, say_json
from stopsearch.domain.measures import Definer, Measure


def rates(
    force: Forces = None,
    first: From = None,
    last: To = None,
    ethnicity: Annotated[
        Definer,
        typer.Option("--ethnicity", help="Whose word for the ethnic group: the person's own, or the officer's."),
    ] = Definer.SELF,
    measure: Annotated[
        Measure, typer.Option("--measure", help="Stops by 1,000 residents, or what was found of what was stopped.")
    ] = Measure.RESIDENTS,
    reference: Annotated[
        str, typer.Option("--reference", metavar="GROUP", help="The group that the others are held against.")
    ] = "White",
    census_year: Annotated[
        int, typer.Option("--census-year", metavar="YEAR", help="The census that counted the residents: 2011 or 2021.")
    ] = 2021,
    override: Annotated[
        list[str] | None,
        typer.Option("--override", metavar="REASON", help="Give figures in spite of this: gap or few_stops."),
    ] = None,
    as_of: AsOf = None,
    snapshot: InSnapshot = None,
    as_json: AsJson = False,
) -> None:
    """
    Give rates of stops by force and ethnic group, or find rates.

    Only stops that search a person count. What would mislead is refused with its reason: a force without residents, a
    gap in the months, too few stops. Without months, the last twelve known are taken. Read docs/rates.md before
    you quote a figure. With --json, one object: data, with an object a force, and meta.
    """
    settings = begin()
    with opened_question(settings, forces=force, first=first, last=last, as_of=as_of, snapshot=snapshot) as (
        connection,
        found,
        asked,
    ):
        from stopsearch.flows.rate_stops import AskedRates, rate_stops
        from stopsearch.flows.rates import as_json as plain

        told = rate_stops(
            connection,
            found,
            AskedRates(
                forces=asked.forces,
                first=asked.first,
                last=asked.last,
                definer=ethnicity,
                measure=measure,
                reference=reference,
                census_year=census_year,
                overrides=tuple(override or ()),
            ),
        )
    meta = meta_of(found, told.months, told.about())
    if as_json:
        say_json({"data": [plain(each) for each in told.figures], "meta": meta})
        return
    show_figures(told.figures)
    say()
    if told.residents is not None:
        say(safe(f"Residents: {told.residents.source}."))
    say(f"{told.first} to {told.last}; snapshot {found.id[:12]}.")
    for caveat in told.caveats:
        note(safe(caveat))
    note(coverage_line(meta))
