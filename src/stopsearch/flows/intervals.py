"""
95 % intervals for a ratio of two rates and for a share. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)  # 1.96


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """
    A value with the ends of its 95 % interval.
    """

    value: float
    low: float
    high: float


def rate_ratio(stops: int, residents: int, reference_stops: int, reference_residents: int) -> Interval:
    """
    Give the ratio of a group's rate to a reference group's, with its interval by the log method.

    Stops are taken for Poisson counts and residents for known numbers. The logarithm of the ratio of two such rates
    is near to normal with the standard error sqrt(1/a + 1/b), where a and b are the two counts of stops; so the ends
    are exp(ln ratio ± 1.96 · sqrt(1/a + 1/b)). This method was taken because anybody can check it by hand, its ends
    are never below zero, and they turn into their inverses when the two groups change places, as a ratio should.
    From 20 stops on, below which no ratio is given unless asked for, it lies close to the exact interval.

    All four numbers are above zero.
    """
    ratio = (stops / residents) / (reference_stops / reference_residents)
    factor = exp(_Z * sqrt(1 / stops + 1 / reference_stops))
    return Interval(value=ratio, low=ratio / factor, high=ratio * factor)


def share(part: int, whole: int) -> Interval:
    """
    Give a part's share of a whole, with Wilson's interval.

    Wilson's, because it stays between 0 and 1 and keeps its promise for small counts and shares near the ends, where
    the plain normal interval gives a width of zero. `whole` is above zero and `part` at most as large.
    """
    value = part / whole
    spread = _Z * sqrt(value * (1 - value) / whole + _Z**2 / (4 * whole**2))
    centre = value + _Z**2 / (2 * whole)
    scale = 1 + _Z**2 / whole
    # Rounding could put an end a hair beyond what a share can be, or beyond the share itself where it is 0 or 1.
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return Interval(value=value, low=max(0.0, min(low, value)), high=min(1.0, max(high, value)))
