"""
The intervals are those that other people's programs give for the same counts.
"""

from __future__ import annotations

import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.rates import confint_poisson_2indep

from stopsearch.flows.intervals import rate_ratio, share

pytestmark = pytest.mark.unit

# Stops and residents of a group and of the reference group; the first is suffolk's of 2020, Black against White.
COUNTS = [
    (196, 10_168, 3046, 708_272),
    (20, 5_000, 20, 90_000),
    (20, 18_496, 1942, 763_744),
    (1, 7_027, 1288, 671_555),
    (90_000, 1_088_137, 70_000, 4_725_217),
]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_the_ratio_and_its_interval_are_those_of_statsmodels(counts: tuple[int, int, int, int]) -> None:
    found = rate_ratio(*counts)
    low, high = confint_poisson_2indep(*counts, method="wald-log", compare="ratio", alpha=0.05)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
    assert found.value == pytest.approx(counts[0] * counts[3] / counts[1] / counts[2], rel=1e-12)


@pytest.mark.parametrize("counts", [each for each in COUNTS if min(each) >= 20], ids=str)
def test_from_twenty_stops_on_it_lies_close_to_the_exact_interval(counts: tuple[int, int, int, int]) -> None:
    """
    The exact one: given both counts' sum, the group's count is binomial, and Clopper and Pearson's ends are turned
    into ratios.
    """
    stops, persons, others, other_persons = counts
    found = rate_ratio(*counts)
    ends = (
        stats.beta.ppf(0.025, stops, others + 1),
        stats.beta.ppf(0.975, stops + 1, others),
    )
    exact = [end / (1 - end) * other_persons / persons for end in ends]
    assert (found.low, found.high) == pytest.approx(exact, rel=0.07)


@pytest.mark.parametrize("counts", [(0, 1), (1, 1), (0, 20), (20, 20), (7, 31), (661, 4174), (1, 90_000)], ids=str)
def test_the_share_and_its_interval_are_those_of_statsmodels(counts: tuple[int, int]) -> None:
    found = share(*counts)
    low, high = proportion_confint(*counts, alpha=0.05, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12, abs=1e-15)
    assert found.value == counts[0] / counts[1]
