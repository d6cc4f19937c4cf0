"""
The bundled census counts are whole, tidy, and carry their source and licence.
"""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files

import pytest

from stopsearch import census
from stopsearch.census import CENSUS_YEARS, LICENCE, SOURCES, census_counts
from stopsearch.domain.forces import FORCE_NAMES
from stopsearch.domain.vocabulary import VOCABULARY

pytestmark = pytest.mark.unit

README = (files(census) / "README.md").read_text(encoding="utf-8")
GROUPS = {label.group for label in VOCABULARY["self_defined_ethnicity"]} - {None}


@pytest.mark.parametrize("year", CENSUS_YEARS)
def test_has_every_group_of_every_force_once(year: int) -> None:
    counts = census_counts(year)
    groups = {each.ethnic_group for each in counts}
    pairs = Counter((each.force, each.ethnic_group) for each in counts)
    assert {each.force for each in counts} == set(FORCE_NAMES) - {"btp", "northern-ireland"}
    assert set(pairs.values()) == {1}
    assert len(counts) == 43 * len(groups)
    assert {each.census_year for each in counts} == {year}
    assert {each.label_group for each in counts} == GROUPS
    assert all(each.persons >= 0 for each in counts)


@pytest.mark.parametrize("year", CENSUS_YEARS)
def test_holds_no_subtotal(year: int) -> None:
    """
    A detailed group is named "broad group: detail"; a subtotal has no detail.
    """
    assert [each for each in census_counts(year) if not re.fullmatch(r"[^:]+: [^:]+", each.ethnic_group)] == []


@pytest.mark.parametrize("year", CENSUS_YEARS)
def test_a_group_lies_in_the_broad_group_that_it_is_named_for(year: int) -> None:
    wrong = [each for each in census_counts(year) if not each.ethnic_group.startswith(each.label_group)]
    assert wrong == []


@pytest.mark.parametrize("year", CENSUS_YEARS)
def test_the_readme_counts_what_the_files_hold(year: int) -> None:
    counts = census_counts(year)
    groups, persons = len({each.ethnic_group for each in counts}), sum(each.persons for each in counts)
    assert f"| `census{year}.csv` | {year} | 43 | {groups} | {persons:,} |" in README


def test_carries_its_licence_notice() -> None:
    text = " ".join(README.split())
    assert (
        "Contains public sector information licensed under the [Open Government Licence v3.0]"
        "(https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/)" in text
    )
    assert LICENCE == "Open Government Licence v3.0"
    assert all(
        "Office for National Statistics" in SOURCES[year] and str(year) in SOURCES[year] for year in CENSUS_YEARS
    )
    assert "summed to police force areas by stopsearch" in SOURCES[2021]
