"""
What holds of rates, ratios and intervals for whatever counts come.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stopsearch.domain.months import Month, month_range
from stopsearch.flows.intervals import rate_ratio, share
from stopsearch.flows.rates import BROAD_GROUPS, ForceRates, as_json, force_rates
from stopsearch.flows.refusals import FEWEST_STOPS, OVERRIDES, AskedMonths

pytestmark = pytest.mark.unit

YEAR = tuple(month_range(Month(2020, 1), Month(2020, 12)))
many = settings(max_examples=200, deadline=None)

counts = st.integers(1, 200_000)
persons = st.integers(1, 9_000_000)
groups_of_stops = st.dictionaries(st.sampled_from(BROAD_GROUPS), st.integers(0, 5_000))
groups_of_residents = st.fixed_dictionaries({group: st.integers(0, 5_000_000) for group in BROAD_GROUPS})
month_sets = st.sets(st.sampled_from(YEAR)).map(lambda months: tuple(sorted(months)))


def rates_of(stops: Mapping[str, int], unknown: int, residents: Mapping[str, int], **options: object) -> ForceRates:
    return force_rates(
        "kent",
        stops,
        unknown,
        residents=residents,
        **({"months": AskedMonths(months=YEAR)} | options),  # type: ignore[arg-type]
    )


@many
@given(counts, persons, counts, persons)
def test_the_interval_encloses_the_ratio_and_turns_over(a: int, m: int, b: int, n: int) -> None:
    there, back = rate_ratio(a, m, b, n), rate_ratio(b, n, a, m)
    assert 0 < there.low < there.value < there.high
    assert (1 / back.high, 1 / back.value, 1 / back.low) == pytest.approx((there.low, there.value, there.high))


@many
@given(counts, persons, counts, persons, st.integers(2, 1000))
def test_the_ratio_does_not_depend_on_the_unit_of_residents(a: int, m: int, b: int, n: int, scale: int) -> None:
    one, other = rate_ratio(a, m, b, n), rate_ratio(a, m * scale, b, n * scale)
    assert (other.low, other.value, other.high) == pytest.approx((one.low, one.value, one.high))


@many
@given(counts, persons, counts, persons, st.integers(2, 1000))
def test_more_stops_of_the_same_ratio_make_a_narrower_interval(a: int, m: int, b: int, n: int, scale: int) -> None:
    one, other = rate_ratio(a, m, b, n), rate_ratio(a * scale, m, b * scale, n)
    assert other.value == pytest.approx(one.value)
    assert one.low < other.low < other.high < one.high


@many
@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_a_share_and_its_interval_lie_between_nothing_and_all(part: int, rest: int) -> None:
    if part + rest == 0:
        return
    found, mirrored = share(part, part + rest), share(rest, part + rest)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-12)


@many
@given(groups_of_stops, st.integers(0, 5_000), groups_of_residents, st.sampled_from(BROAD_GROUPS))
def test_bounds_enclose_the_ratio_and_meet_where_nothing_is_unknown(
    stops: dict[str, int], unknown: int, residents: dict[str, int], reference: str
) -> None:
    found = rates_of(stops, unknown, residents, reference=reference, overrides=OVERRIDES)
    for each in found.groups:
        low, high = each.ratio_if_unknowns_reference, each.ratio_if_unknowns_group
        assert (each.ratio is None) == (low is None) == (high is None)
        if each.ratio is not None and low is not None and high is not None:
            assert low <= each.ratio.value <= high
            assert (low == high) == (unknown == 0)
            assert each.ratio.value == pytest.approx(
                stops[each.group] * residents[reference] / residents[each.group] / stops[reference]
            )


@many
@given(groups_of_stops, st.integers(0, 5_000), groups_of_residents, month_sets, month_sets, st.booleans())
def test_every_figure_is_given_or_refused_for_a_reason(
    stops: dict[str, int],
    unknown: int,
    residents: dict[str, int],
    missing: tuple[Month, ...],
    doubtful: tuple[Month, ...],
    is_overridden: bool,
) -> None:
    months = AskedMonths(months=YEAR, missing=missing, doubtful=doubtful)
    found = rates_of(stops, unknown, residents, months=months, overrides=OVERRIDES if is_overridden else ())
    assert found.stops == sum(each.stops for each in found.groups) + found.unknown
    assert (found.rate is None) == (found.rate_per_year is None) == bool(found.refusals)
    if missing or doubtful:
        assert found.refusals or found.overridden
    for each in found.groups:
        assert (each.ratio is not None) == (not found.refusals and not each.refusals and each.group != found.reference)
        if found.refusals:
            assert (each.rate, each.refusals, each.overridden) == (None, (), ())
        else:
            assert (each.rate is None) == (residents[each.group] == 0)
        if each.ratio is not None and not each.overridden:
            assert each.stops >= FEWEST_STOPS
            assert stops["White"] >= FEWEST_STOPS
    assert as_json(found)["groups"][0]["group"] == "White"


@many
@given(groups_of_stops, st.integers(0, 5_000), groups_of_residents, st.sampled_from(BROAD_GROUPS))
def test_more_unknowns_never_narrow_the_bounds(
    stops: dict[str, int], unknown: int, residents: dict[str, int], reference: str
) -> None:
    options = {"reference": reference, "overrides": OVERRIDES}
    few, more = rates_of(stops, unknown, residents, **options), rates_of(stops, unknown + 1, residents, **options)
    for one, other in zip(few.groups, more.groups, strict=True):
        assert one.ratio == other.ratio
        if one.ratio_if_unknowns_reference is not None and other.ratio_if_unknowns_reference is not None:
            assert other.ratio_if_unknowns_reference < one.ratio_if_unknowns_reference
