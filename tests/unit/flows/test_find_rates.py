"""
Find rates and linked shares count what is given, and never take an empty outcome for no further action.
"""

from __future__ import annotations

import json

import pytest
from statsmodels.stats.proportion import proportion_confint

from builders.archives import csv_rows, sample_members
from stopsearch.domain.months import Month, month_range
from stopsearch.flows.find_rates import LINKED_CAVEAT, FindCounts, finds_by_force
from stopsearch.flows.rates import BROAD_GROUPS, as_json
from stopsearch.flows.refusals import AskedMonths, RefusalReason

pytestmark = pytest.mark.unit

YEAR = tuple(month_range(Month(2020, 1), Month(2020, 12)))
NOTHING = "A no further action disposal"


def counts_of(row: dict[str, str]) -> FindCounts:
    linked = row["Outcome linked to object of search"]
    return FindCounts(
        stops=1,
        with_outcome=bool(row["Outcome"]),
        found=row["Outcome"] not in ("", NOTHING),
        linked_given=bool(linked),
        linked=linked == "True",
    )


def test_real_rows_give_shares_with_wilsons_intervals() -> None:
    rows = [
        row
        for (force, month), body in sample_members("2021-11").items()
        if (force, month[:4]) == ("suffolk", "2020")
        for row in csv_rows(body)
    ]
    [found] = finds_by_force(
        [("suffolk", row["Officer-defined ethnicity"] or None, counts_of(row)) for row in rows],
        months={"suffolk": AskedMonths(months=YEAR)},
    )
    assert [each.group for each in found.groups] == list(BROAD_GROUPS)
    assert found.total.stops == len(rows) == sum(each.stops for each in found.groups) + found.unknown.stops
    for each in found.groups:
        own = [row for row in rows if row["Officer-defined ethnicity"] == each.group]
        given = [row for row in own if row["Outcome"]]
        hits = [row for row in given if row["Outcome"] != NOTHING]
        linked = [row for row in own if row["Outcome linked to object of search"] == "True"]
        assert (each.with_outcome, each.found, each.linked) == (len(given), len(hits), len(linked))
        assert each.find_rate is not None
        assert each.find_rate.value == pytest.approx(len(hits) / len(given))
        ends = proportion_confint(len(hits), len(given), method="wilson")
        assert (each.find_rate.low, each.find_rate.high) == pytest.approx(ends)
        assert each.linked_share is not None
        ends = proportion_confint(len(linked), each.linked_given, method="wilson")
        assert (each.linked_share.low, each.linked_share.high) == pytest.approx(ends)


def test_what_is_not_given_is_left_out() -> None:
    counts = FindCounts(stops=100, with_outcome=40, found=10, linked_given=0, linked=0)
    [found] = finds_by_force([("gwent", None, counts)], months={"gwent": AskedMonths(months=YEAR)})
    assert found.unknown.find_rate is not None
    assert found.unknown.find_rate.value == 0.25
    assert found.unknown.linked_share is None
    assert all(each.find_rate is None for each in found.groups), "nobody of these groups was searched"


def test_rows_of_one_group_are_added_up() -> None:
    one = FindCounts(stops=5, with_outcome=4, found=3, linked_given=2, linked=1)
    [found] = finds_by_force([("kent", "Black", one)] * 3, months={"kent": AskedMonths(months=YEAR)})
    [black] = [each for each in found.groups if each.group == "Black"]
    shown = (black.stops, black.with_outcome, black.found, black.linked_given, black.linked)
    assert shown == (15, 12, 9, 6, 3)
    assert black.linked_share is not None
    assert black.linked_share.value == 0.5
    assert found.total.stops == 15


def test_the_transport_police_have_find_rates() -> None:
    counts = FindCounts(stops=50, with_outcome=50, found=20)
    [found] = finds_by_force([("btp", "White", counts)], months={"btp": AskedMonths(months=YEAR)})
    assert found.refusals == ()
    assert found.total.find_rate is not None


def test_a_gap_refuses_shares_unless_overridden() -> None:
    counts = FindCounts(stops=50, with_outcome=50, found=20, linked_given=50, linked=20)
    rows, months = [("kent", "White", counts)], {"kent": AskedMonths(months=YEAR, doubtful=YEAR[:1])}
    [found] = finds_by_force(rows, months=months)
    assert [(refusal.reason, refusal.override) for refusal in found.refusals] == [(RefusalReason.GAP, "gap")]
    assert (found.total.find_rate, found.total.linked_share, found.total.found) == (None, None, 20)
    [found] = finds_by_force(rows, months=months, overrides=("gap",))
    assert found.total.find_rate is not None
    assert [refusal.reason for refusal in found.overridden] == [RefusalReason.GAP]


def test_the_caveat_names_the_forces_whose_convention_is_odd() -> None:
    named = ("warwickshire", "west-mercia", "derbyshire", "west-yorkshire", "northumbria", "metropolitan", "gwent")
    assert [force for force in named if force not in LINKED_CAVEAT] == []


def test_is_written_as_json() -> None:
    counts = FindCounts(stops=3, with_outcome=3, found=1)
    [found] = finds_by_force([("kent", "White", counts)], months={"kent": AskedMonths(months=YEAR)})
    written = json.loads(json.dumps(as_json(found)))
    assert written["total"]["find_rate"]["value"] == 0.3333333333
    assert written["unknown"]["find_rate"] is None
