"""
The bundled census counts: residents of each force's area by ethnic group. What they are is told in the README.md.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

LICENCE = "Open Government Licence v3.0"

# Where the counts of each census come from, as every answer that rests on them says it.
SOURCES: Mapping[int, str] = {
    2011: "Office for National Statistics, 2011 Census, ethnic group by police force area (Nomis)",
    2021: (
        "Office for National Statistics, Census 2021, table TS021 (ethnic group) by lower-tier local authority, "
        "summed to police force areas by stopsearch with the ONS lookup of 2022"
    ),
}

CENSUS_YEARS: tuple[int, ...] = tuple(sorted(SOURCES))


@dataclass(frozen=True, kw_only=True, slots=True)
class CensusCount:
    """
    One count of a census: the usual residents of one force's area in one ethnic group.
    """

    force: str
    census_year: int
    ethnic_group: str  # in the census's own words, which differ between the years
    label_group: str  # the broad group that stops are counted by
    persons: int


@cache
def census_counts(census_year: int) -> tuple[CensusCount, ...]:
    """
    Give the counts of one of `CENSUS_YEARS`: 43 forces by every detailed group, so that no subtotal is among them.

    They are in the order of the forces' ids. Forces without an area of residents (`btp`) or without a count here
    (`northern-ireland`) are not among them.
    """
    text = (files(__name__) / f"census{census_year}.csv").read_text(encoding="utf-8")
    return tuple(
        CensusCount(
            force=line["force"],
            census_year=int(line["census_year"]),
            ethnic_group=line["ethnic_group"],
            label_group=line["label_group"],
            persons=int(line["persons"]),
        )
        for line in csv.DictReader(text.splitlines())
    )
