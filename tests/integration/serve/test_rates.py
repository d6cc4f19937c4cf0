"""
Rates and find rates, against another implementation on the same real rows; and what is refused.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.rates import confint_poisson_2indep

from builders.command_line import command_line_of
from builders.sample_rows import sample_rows
from stopsearch.serve.total_examples import RATES_EXAMPLE, RATES_QUERY
from stopsearch.store.database import Database

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("stocked")]

GROUPS = ("White", "Mixed", "Asian", "Black", "Other")
YEAR = "from=2020-01&to=2020-12"
Row = dict[str, Any]


def persons(force: str, months: Iterable[str]) -> list[Row]:
    """
    Give the searches of persons in the sample's files.
    """
    wanted = set(months)
    return [
        stop
        for stop in sample_rows().stops
        if stop["force"] == force and stop["month"] in wanted and stop["type"] != "Vehicle search"
    ]


def months_of(year: int) -> list[str]:
    return [f"{year}-{number:02d}" for number in range(1, 13)]


def residents_of(force: str, year: int) -> Counter[str]:
    """
    Add the census' own file up, without our code.
    """
    residents: Counter[str] = Counter()
    text = (files("stopsearch.census") / f"census{year}.csv").read_text(encoding="utf-8")
    for line in csv.DictReader(text.splitlines()):
        if line["force"] == force:
            residents[line["label_group"]] += int(line["persons"])
    return residents


def get(api: TestClient, query: str) -> dict[str, Any]:
    answer = api.get(f"/v1/rates?{query}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize("census_year", [2021, 2011])
@pytest.mark.parametrize(
    ("ethnicity", "field"), [("self", "self_defined_ethnic_group"), ("officer", "officer_defined_ethnicity")]
)
@pytest.mark.parametrize("reference", ["White", "Asian"])
def test_rates_are_those_of_another_implementation_on_the_same_rows(
    api: TestClient, census_year: int, ethnicity: str, field: str, reference: str
) -> None:
    query = f"force=suffolk&{YEAR}&ethnicity={ethnicity}&census_year={census_year}&reference={reference}"
    body = get(api, query)
    [figures] = body["data"]
    stops = persons("suffolk", months_of(2020))
    counted = Counter(stop[field] for stop in stops)
    residents = residents_of("suffolk", census_year)
    unknown = counted[None]

    assert (figures["force"], figures["stops"], figures["unknown"]) == ("suffolk", len(stops), unknown)
    assert figures["share_unknown"] == near(unknown / len(stops))
    assert figures["residents"] == residents.total()
    assert figures["rate"] == near(1000 * len(stops) / residents.total())
    assert [group["group"] for group in figures["groups"]] == list(GROUPS)
    for group in figures["groups"]:
        own, people = counted[group["group"]], residents[group["group"]]
        others, other_people = counted[reference], residents[reference]
        assert (group["stops"], group["residents"]) == (own, people)
        assert group["rate"] == near(1000 * own / people)
        assert group["rate_per_year"] == near(1000 * own / people)  # twelve months are held
        if group["group"] == reference:
            assert group["ratio"] is None
            continue
        if min(own, others) < 20:
            assert group["ratio"] is None
            assert [refusal["reason"] for refusal in group["refusals"]] == ["few_stops"]
            continue
        low, high = confint_poisson_2indep(own, people, others, other_people, method="wald-log")
        assert group["ratio"] == {
            "value": near((own / people) / (others / other_people)),
            "low": near(low),
            "high": near(high),
        }
        assert group["ratio_if_unknowns_reference"] == near((own / people) / ((others + unknown) / other_people))
        assert group["ratio_if_unknowns_group"] == near(((own + unknown) / people) / (others / other_people))
    assert body["meta"]["residents"]["census_year"] == census_year
    assert str(census_year) in body["meta"]["residents"]["source"]
    assert body["meta"]["residents"]["licence"] == "Open Government Licence v3.0"
    assert body["meta"]["per_residents"] == 1000
    assert body["meta"]["reference"] == reference


@pytest.mark.parametrize(
    ("ethnicity", "field"), [("self", "self_defined_ethnic_group"), ("officer", "officer_defined_ethnicity")]
)
def test_find_rates_are_those_of_another_implementation_on_the_same_rows(
    api: TestClient, ethnicity: str, field: str
) -> None:
    # A find rate needs no residents, so that btp has one too.
    body = get(api, f"force=suffolk,btp&from=2020-07&to=2020-07&measure=find&ethnicity={ethnicity}")

    assert [each["force"] for each in body["data"]] == ["btp", "suffolk"]
    for figures in body["data"]:
        stops = persons(figures["force"], ["2020-07"])
        told = [*figures["groups"], figures["unknown"], figures["total"]]
        wanted = [[stop for stop in stops if stop[field] == group] for group in (*GROUPS, None)] + [stops]
        for share, own in zip(told, wanted, strict=True):
            outcomes = [stop["outcome"] for stop in own if stop["outcome"] is not None]
            linked = [stop["outcome_linked_to_object_of_search"] for stop in own]
            said = [each for each in linked if each is not None]
            hits = sum(outcome != "A no further action disposal" for outcome in outcomes)
            assert (share["stops"], share["with_outcome"], share["found"]) == (len(own), len(outcomes), hits)
            assert (share["linked_given"], share["linked"]) == (len(said), sum(said))
            assert_share(share["find_rate"], hits, len(outcomes))
            assert_share(share["linked_share"], sum(said), len(said))
    assert any("local convention" in caveat for caveat in body["meta"]["caveats"])
    assert "residents" not in body["meta"]


def assert_share(interval: dict[str, float] | None, part: int, whole: int) -> None:
    if whole == 0:
        assert interval is None
        return
    low, high = proportion_confint(part, whole, method="wilson")
    assert interval == {
        "value": pytest.approx(part / whole, abs=1e-9),
        "low": pytest.approx(low, abs=1e-9),
        "high": pytest.approx(high, abs=1e-9),
    }


def test_a_force_without_residents_is_refused_and_nothing_lifts_it(api: TestClient) -> None:
    for override in ("", "&override=gap,few_stops"):
        answer = api.get(f"/v1/rates?force=btp&from=2020-07&to=2020-07{override}")

        problem = answer.json()
        assert answer.status_code == 422
        assert problem["type"] == "/problems/rate_refused"
        assert "no residents for btp" in problem["detail"]
        assert "No override" in problem["remedy"]
        assert [(error["parameter"], error["value"]) for error in problem["errors"]] == [("force", "btp")]


def test_rates_over_a_gap_are_refused_until_that_is_overridden(api: TestClient) -> None:
    held = [month for month in months_of(2020) if ("durham", month) in sample_rows().held]
    missing = sorted(set(months_of(2020)) - set(held))

    refused = api.get(f"/v1/rates?force=durham&{YEAR}")
    problem = refused.json()
    assert refused.status_code == 422
    assert "the override gap" in problem["remedy"]
    assert all(month in problem["detail"] for month in missing)

    body = get(api, f"force=durham&{YEAR}&override=gap")
    [figures] = body["data"]
    stops = len(persons("durham", held))
    rate = 1000 * stops / residents_of("durham", 2021).total()
    assert (figures["months_asked"], figures["months_held"]) == (12, len(held))
    assert [each["reason"] for each in figures["overridden"]] == ["gap"]
    assert figures["stops"] == stops
    assert figures["rate"] == near(rate)
    assert figures["rate_per_year"] == near(rate * 12 / len(held))
    assert {month for gap in body["meta"]["coverage"]["gaps"] for month in (gap["from"], gap["to"])} <= set(missing)


def test_one_force_that_can_be_told_is_told_beside_one_that_cannot(api: TestClient) -> None:
    body = get(api, f"force=durham,suffolk&{YEAR}")
    durham, suffolk = body["data"]

    assert body["meta"]["refused"] == ["durham"]
    assert [each["reason"] for each in durham["refusals"]] == ["gap"]
    assert durham["stops"] > 0
    assert durham["rate"] is durham["rate_per_year"] is None
    assert {group["rate"] for group in durham["groups"]} == {None}
    assert suffolk["refusals"] == []
    assert suffolk["rate"] is not None


def test_a_ratio_of_too_few_stops_is_refused_until_that_is_overridden(api: TestClient) -> None:
    month = "force=suffolk&from=2020-07&to=2020-07"
    counted = Counter(stop["self_defined_ethnic_group"] for stop in persons("suffolk", ["2020-07"]))
    few = [group for group in GROUPS[1:] if 0 < counted[group] < 20]

    told, overridden = (
        {group["group"]: group for group in get(api, query)["data"][0]["groups"]}
        for query in (month, f"{month}&override=few_stops")
    )
    assert few
    for group in few:
        assert told[group]["ratio"] is None
        assert told[group]["rate"] is not None
        assert [each["reason"] for each in told[group]["refusals"]] == ["few_stops"]
        assert overridden[group]["ratio"] is not None
        assert [each["reason"] for each in overridden[group]["overridden"]] == ["few_stops"]


def test_without_months_the_last_twelve_known_are_taken_and_said(api: TestClient) -> None:
    body = get(api, "force=metropolitan&override=gap")

    assert body["meta"]["period"] == {"from": "2024-01", "to": "2024-12", "is_named": False}
    assert (body["data"][0]["months_asked"], body["data"][0]["months_held"]) == (12, 1)
    assert (body["meta"]["coverage"]["from"], body["meta"]["coverage"]["to"]) == ("2024-01", "2024-12")
    assert body["meta"]["coverage"]["expected"] == 12


def test_where_every_force_is_refused_each_is_named_with_its_reason(api: TestClient) -> None:
    answer = api.get("/v1/rates")

    assert answer.status_code == 422
    assert {error["value"] for error in answer.json()["errors"]} == {force for force, _ in sample_rows().held}
    assert all(error["reason"] for error in answer.json()["errors"])


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("force=suffolk&census_year=1991", "bad_query"),
        ("force=suffolk&census_year=recent", "bad_query"),
        ("force=suffolk&ethnicity=both", "bad_query"),
        ("force=suffolk&reference=white", "bad_query"),
        ("force=suffolk&override=no_residents", "bad_query"),
        ("force=suffolk&gender=Male", "bad_query"),
        ("force=suffolk&from=2000-01&to=2999-12", "month_out_of_range"),
        ("force=suffolk&from=2025-01&to=2025-12", "rate_refused"),
        ("force=suffolk&from=2999-01", "bad_query"),
    ],
)
def test_what_cannot_be_meant_is_refused(api: TestClient, query: str, kind: str) -> None:
    answer = api.get(f"/v1/rates?{query}")

    assert answer.status_code == 422
    assert answer.json()["type"] == f"/problems/{kind}"


def test_the_command_says_the_same(api: TestClient, stocked: Database, tmp_path: Path) -> None:
    stopsearch = command_line_of(stocked, tmp_path)
    period = ("--from", "2020-01", "--to", "2020-12")
    for measure in ("residents", "find"):
        body = get(api, f"force=suffolk,durham&{YEAR}&measure={measure}")
        said = stopsearch.look("rates", "--force", "suffolk,durham", *period, "--measure", measure, "--json")
        [answer] = said.objects
        assert answer["data"] == body["data"]
        assert {name: body["meta"][name] for name in answer["meta"]} == answer["meta"]

    shown = stopsearch.look("rates", "--force", "suffolk,durham", *period)
    assert "4.48   3.88 to 5.18" in shown.out  # of Black against White, as docs/rates.md works it out by hand
    assert "--override gap lifts it" in shown.out
    assert "ten times is ten stops" in shown.err
    refused = stopsearch.look("rates", "--force", "btp", "--from", "2020-07", "--to", "2020-07", expect=2)
    assert "no residents for btp" in refused.err
    assert "White, Mixed" in stopsearch.look("rates", "--reference", "white", expect=2).err
    assert "few_stops, gap" in stopsearch.look("rates", "--override", "gaps", expect=2).err


def test_the_documents_example_is_real(api: TestClient) -> None:
    body, example = get(api, RATES_QUERY), RATES_EXAMPLE

    [figures], [told] = body["data"], example["data"]
    named = {group["group"] for group in told["groups"]}
    assert figures | {"groups": [group for group in figures["groups"] if group["group"] in named]} == told
    for name in example["meta"].keys() - {"snapshot", "caveats"}:
        assert body["meta"][name] == example["meta"][name]
    assert example["meta"]["caveats"] == body["meta"]["caveats"][:1]
