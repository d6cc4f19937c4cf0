"""
Rates, ratios and bounds of real counts, checked against other programs, and refused where they would mislead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from statsmodels.stats.rates import confint_poisson_2indep

from builders.archives import csv_rows, sample_members
from stopsearch.census import census_counts
from stopsearch.domain.months import Month, month_range
from stopsearch.flows.rates import BROAD_GROUPS, ForceRates, GroupRate, as_json, force_rates, rates_by_force
from stopsearch.flows.refusals import OVERRIDES, AskedMonths, RefusalReason

pytestmark = pytest.mark.unit

YEAR = tuple(month_range(Month(2020, 1), Month(2020, 12)))
RESIDENTS = {"White": 90_000, "Mixed": 3_000, "Asian": 5_000, "Black": 2_000, "Other": 1_000}
STOPS = {"White": 450, "Mixed": 20, "Asian": 19, "Black": 60}


def make_rates(
    *,
    force: str = "suffolk",
    stops: Mapping[str, int] = STOPS,
    unknown: int = 50,
    residents: Mapping[str, int] = RESIDENTS,
    months: AskedMonths | None = None,
    reference: str = "White",
    overrides: tuple[str, ...] = (),
) -> ForceRates:
    return force_rates(
        force,
        stops,
        unknown,
        residents=residents,
        months=months or AskedMonths(months=YEAR),
        reference=reference,
        overrides=overrides,
    )


def group_of(rates: ForceRates, group: str) -> GroupRate:
    [found] = [each for each in rates.groups if each.group == group]
    return found


def reasons(figures: ForceRates | GroupRate) -> list[tuple[str, str | None]]:
    return [(refusal.reason.value, refusal.override) for refusal in figures.refusals]


def has_a_figure(rates: ForceRates) -> bool:
    values = [rates.rate, rates.rate_per_year]
    for each in rates.groups:
        values += [each.rate, each.rate_per_year, each.ratio_if_unknowns_group, each.ratio_if_unknowns_reference]
        values += [each.ratio.value] if each.ratio else []
    return any(value is not None for value in values)


def test_the_broad_groups_are_those_of_the_census() -> None:
    assert BROAD_GROUPS == ("White", "Mixed", "Asian", "Black", "Other")
    assert {each.label_group for each in census_counts(2021)} == set(BROAD_GROUPS)


def test_rates_are_by_a_thousand_residents_and_a_year() -> None:
    half = AskedMonths(months=YEAR[:6])
    black = group_of(make_rates(months=half), "Black")
    assert (black.stops, black.residents, black.rate, black.rate_per_year) == (60, 2_000, 30.0, 60.0)
    rates = make_rates(months=half)
    assert (rates.stops, rates.unknown, rates.residents) == (599, 50, 101_000)
    assert rates.share_unknown == pytest.approx(50 / 599)
    assert rates.rate == pytest.approx(1000 * 599 / 101_000)
    assert rates.rate_per_year == pytest.approx(2000 * 599 / 101_000)
    assert (rates.months_asked, rates.months_held) == (6, 6)


def test_ratio_and_bounds_by_hand() -> None:
    black = group_of(make_rates(), "Black")
    assert black.ratio is not None
    assert black.ratio.value == pytest.approx(30 / 5)
    assert black.ratio_if_unknowns_reference == pytest.approx(30 / (500 / 90))
    assert black.ratio_if_unknowns_group == pytest.approx(55 / 5)


def test_the_reference_group_has_a_rate_and_no_ratio() -> None:
    white = group_of(make_rates(), "White")
    assert (white.rate, white.ratio, white.ratio_if_unknowns_group) == (5.0, None, None)
    assert reasons(white) == []
    rates = make_rates(reference="Black")
    assert (rates.reference, group_of(rates, "Black").ratio) == ("Black", None)
    white = group_of(rates, "White")
    assert white.ratio is not None
    assert white.ratio.value == pytest.approx(5 / 30)


def test_few_stops_refuse_the_ratio_and_not_the_rate() -> None:
    rates = make_rates()
    assert reasons(rates) == []
    mixed, asian = group_of(rates, "Mixed"), group_of(rates, "Asian")
    assert mixed.ratio is not None
    assert reasons(asian) == [("few_stops", "few_stops")]
    assert "Asian has 19" in asian.refusals[0].detail
    assert asian.rate == pytest.approx(19 / 5)
    assert (asian.ratio, asian.ratio_if_unknowns_reference, asian.ratio_if_unknowns_group) == (None, None, None)


def test_few_stops_of_the_reference_refuse_every_ratio() -> None:
    rates = make_rates(stops={**STOPS, "White": 19}, overrides=("gap",))
    assert [reasons(group_of(rates, group)) for group in ("Mixed", "Black")] == [[("few_stops", "few_stops")]] * 2
    assert reasons(group_of(rates, "White")) == []
    assert "White has 19" in group_of(rates, "Black").refusals[0].detail


def test_few_stops_are_overridden_by_name_and_it_is_said() -> None:
    asian = group_of(make_rates(overrides=("few_stops",)), "Asian")
    assert asian.ratio is not None
    assert asian.ratio.value == pytest.approx(19 / 5 / 5)
    assert reasons(asian) == []
    assert [refusal.reason for refusal in asian.overridden] == [RefusalReason.FEW_STOPS]


def test_no_stop_at_all_gives_no_ratio_whatever_is_overridden() -> None:
    other = group_of(make_rates(overrides=OVERRIDES), "Other")
    assert (other.stops, other.rate, other.ratio) == (0, 0.0, None)
    assert reasons(other) == [("few_stops", None)]


def test_a_force_without_residents_cannot_be_overridden() -> None:
    rates = make_rates(force="btp", residents={}, overrides=OVERRIDES)
    assert reasons(rates) == [("no_residents", None)]
    assert "btp" in rates.refusals[0].detail
    assert not has_a_figure(rates)
    assert (rates.stops, rates.residents, group_of(rates, "Black").stops) == (599, None, 60)


def test_a_group_without_residents_has_no_rate() -> None:
    rates = make_rates(residents={**RESIDENTS, "Mixed": 0}, overrides=OVERRIDES)
    mixed = group_of(rates, "Mixed")
    assert (mixed.rate, mixed.ratio, reasons(mixed)) == (None, None, [("no_residents", None)])
    assert group_of(rates, "Black").ratio is not None


def test_a_reference_without_residents_gives_no_ratio() -> None:
    rates = make_rates(residents={"Black": 2_000}, overrides=OVERRIDES)
    black = group_of(rates, "Black")
    assert (black.rate, black.ratio, reasons(black)) == (30.0, None, [("no_residents", None)])


@pytest.mark.parametrize(
    ("months", "told"),
    [
        (AskedMonths(months=YEAR, missing=YEAR[2:4]), "2 not held (2020-03, 2020-04)"),
        (AskedMonths(months=YEAR, doubtful=YEAR[2:3]), "1 doubtful (2020-03)"),
        (AskedMonths(months=YEAR, missing=YEAR[:8]), "2020-06 and 2 more"),
        (AskedMonths(months=YEAR, missing=YEAR[2:3], doubtful=YEAR[3:4]), "1 not held (2020-03) and 1 doubtful"),
    ],
    ids=["missing", "doubtful", "many", "both"],
)
def test_a_gap_refuses_every_figure(months: AskedMonths, told: str) -> None:
    rates = make_rates(months=months, overrides=("few_stops",))
    assert reasons(rates) == [("gap", "gap")]
    assert told in rates.refusals[0].detail
    assert not has_a_figure(rates)
    assert rates.stops == 599


def test_over_a_gap_a_year_is_made_of_the_months_held() -> None:
    months = AskedMonths(months=YEAR, missing=YEAR[:3], doubtful=YEAR[4:5])
    rates = make_rates(months=months, overrides=("gap",))
    assert (rates.months_asked, rates.months_held) == (12, 9)
    assert group_of(rates, "Black").rate == 30.0
    assert group_of(rates, "Black").rate_per_year == pytest.approx(40.0)
    assert [refusal.reason for refusal in rates.overridden] == [RefusalReason.GAP]


def test_months_of_which_none_is_held_cannot_be_overridden() -> None:
    rates = make_rates(stops={}, unknown=0, months=AskedMonths(months=YEAR, missing=YEAR), overrides=OVERRIDES)
    assert reasons(rates) == [("gap", None)]
    assert (rates.share_unknown, rates.months_held) == (None, 0)
    assert not has_a_figure(rates)


def test_gaps_outside_of_what_was_asked_do_not_matter() -> None:
    outside = (Month(2019, 12), Month(2021, 1))
    rates = make_rates(months=AskedMonths(months=YEAR, missing=outside, doubtful=outside))
    assert (reasons(rates), rates.months_held) == ([], 12)


def test_every_reason_to_refuse_is_told() -> None:
    rates = make_rates(residents={}, months=AskedMonths(months=YEAR, missing=YEAR[:1]))
    assert reasons(rates) == [("no_residents", None), ("gap", "gap")]
    assert all(reasons(each) == [] for each in rates.groups), "what refuses the force is told once"


def test_every_force_that_was_asked_for_has_its_rates() -> None:
    rows: list[tuple[str, str | None, int]] = [
        ("kent", "Black", 30),
        ("durham", "White", 300),
        ("durham", "Black", 20),
        ("durham", None, 5),
        ("durham", "Black", 11),
    ]
    found = rates_by_force(
        rows,
        residents={"durham": RESIDENTS, "kent": RESIDENTS, "essex": RESIDENTS},
        months={
            "kent": AskedMonths(months=YEAR, missing=YEAR[:1]),
            "durham": AskedMonths(months=YEAR),
            "btp": AskedMonths(months=YEAR),
        },
    )
    assert [each.force for each in found] == ["btp", "durham", "kent"]
    btp, durham, kent = found
    assert (btp.stops, reasons(btp)) == (0, [("no_residents", None)])
    assert durham == make_rates(force="durham", stops={"White": 300, "Black": 31}, unknown=5)
    assert reasons(kent) == [("gap", "gap")]


def test_reference_and_overrides_reach_every_force() -> None:
    [found] = rates_by_force(
        [("durham", "Black", 30), ("durham", "White", 19)],
        residents={"durham": RESIDENTS},
        months={"durham": AskedMonths(months=YEAR, missing=YEAR[:1])},
        reference="Black",
        overrides=("gap", "few_stops"),
    )
    assert (found.reference, group_of(found, "White").ratio is not None) == ("Black", True)


def test_is_written_as_json() -> None:
    rates = make_rates(overrides=("few_stops",), months=AskedMonths(months=YEAR, missing=YEAR[:1]))
    written: dict[str, Any] = json.loads(json.dumps(as_json(rates)))
    assert written["refusals"] == [{"reason": "gap", "detail": rates.refusals[0].detail, "override": "gap"}]
    assert set(written["groups"][0]) == set(GroupRate.__dataclass_fields__)
    written = as_json(make_rates())
    [mixed] = [each for each in written["groups"] if each["group"] == "Mixed"]
    assert mixed["rate"] == 6.6666666667
    assert set(mixed["ratio"]) == {"value", "low", "high"}


def suffolk_stops(field: str) -> pd.Series:
    """
    Give the broad group of every search of a person by suffolk in 2020, by the standard library and pandas alone.
    """
    of_2020 = [
        body for (force, month), body in sample_members("2021-11").items() if (force, month[:4]) == ("suffolk", "2020")
    ]
    assert len(of_2020) == 12
    frame = pd.DataFrame([row for body in of_2020 for row in csv_rows(body)])
    frame = frame[frame["Type"] != "Vehicle search"]
    groups = frame[field].str.extract(r"^(White|Mixed|Asian|Black)", expand=False)
    groups[frame[field].isin(["Other", "Other ethnic group - Any other ethnic group", "Other ethnic group - Arab"])] = (
        "Other"
    )
    return groups


def suffolk_persons() -> pd.Series:
    counts = [(each.label_group, each.persons) for each in census_counts(2021) if each.force == "suffolk"]
    return pd.DataFrame(counts, columns=["group", "persons"]).groupby("group")["persons"].sum()


def suffolk_rates(field: str) -> ForceRates:
    [found] = rates_by_force(
        [("suffolk", None if pd.isna(group) else group, 1) for group in suffolk_stops(field)],
        residents={"suffolk": {str(group): int(persons) for group, persons in suffolk_persons().items()}},
        months={"suffolk": AskedMonths(months=YEAR)},
    )
    return found


@pytest.mark.parametrize(("field", "unknown"), [("Officer-defined ethnicity", 0), ("Self-defined ethnicity", 661)])
def test_real_rows_give_what_pandas_and_statsmodels_give(field: str, unknown: int) -> None:
    """
    Suffolk's whole year 2020, counted, divided and compared without any code of ours.
    """
    groups, persons, found = suffolk_stops(field), suffolk_persons(), suffolk_rates(field)
    counts = groups.value_counts()
    assert (found.stops, found.unknown, int(groups.isna().sum())) == (len(groups), unknown, unknown)
    for each in found.groups:
        assert (each.stops, each.residents) == (counts[each.group], persons[each.group])
        assert each.rate == pytest.approx(1000 * counts[each.group] / persons[each.group])
        if each.group == "White":
            continue
        exposed = (counts[each.group], persons[each.group], counts["White"], persons["White"])
        low = counts[each.group] / persons[each.group] * persons["White"] / (counts["White"] + unknown)
        high = (counts[each.group] + unknown) / persons[each.group] * persons["White"] / counts["White"]
        assert each.ratio is not None
        assert (each.ratio.low, each.ratio.high) == pytest.approx(confint_poisson_2indep(*exposed, method="wald-log"))
        assert each.ratio_if_unknowns_reference == pytest.approx(low)
        assert each.ratio_if_unknowns_group == pytest.approx(high)


def test_the_documents_example_is_what_the_code_gives() -> None:
    told = (Path(__file__).parents[3] / "docs" / "rates.md").read_text()
    found = suffolk_rates("Self-defined ethnicity")
    assert f"{found.stops:,} searches of persons" in told
    assert f"Of {found.unknown} stops ({found.share_unknown:.1%}) the".replace("%)", " %)") in told
    for each in found.groups:
        line = f"| {each.group} | {each.stops:,} | {each.residents:,} | {each.rate:.2f} |"
        if each.ratio is not None:
            line += f" {each.ratio.value:.2f} | {each.ratio.low:.2f} to {each.ratio.high:.2f} |"
            line += f" {each.ratio_if_unknowns_reference:.2f} to {each.ratio_if_unknowns_group:.2f} |"
        assert line in told
    black = group_of(suffolk_rates("Officer-defined ethnicity"), "Black").ratio
    assert black is not None
    assert f"the ratio for Black is {black.value:.2f} ({black.low:.2f} to {black.high:.2f})" in told
