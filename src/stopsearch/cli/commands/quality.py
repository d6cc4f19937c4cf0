"""
`stopsearch quality`: what is odd or lacking in each force-month, in parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopsearch.cli.arguments import AsJson, Forces, From, To, read_wanted
from stopsearch.cli.asked_stops import AsOf, InSnapshot
from stopsearch.cli.in_snapshot import opened_snapshot
from stopsearch.cli.opening import begin, need_something_held
from stopsearch.cli.terminal import Align, number, say, say_json, table

if TYPE_CHECKING:
    from stopsearch.flows.quality import MonthQuality, Part

_COLUMNS: list[tuple[str, Align]] = [
    ("force", "left"),
    ("month", "left"),
    ("stops", "right"),
    ("to median", "right"),
    ("rejected", "right"),
    ("repeats", "right"),
    ("midnight", "right"),
    ("outside", "right"),
    ("far", "right"),
    ("no place", "right"),
    ("no outcome", "right"),
    ("no ethnicity", "right"),
    ("flags", "left"),
]


def quality(
    force: Forces = None,
    first: From = None,
    last: To = None,
    as_of: AsOf = None,
    snapshot: InSnapshot = None,
    as_json: AsJson = False,
) -> None:
    """
    Show what is odd or lacking in each force-month that is held.

    There is no single score: what matters depends on the question. "To median" compares a month's stops with the
    median of the force's other months. With --json, one object a force-month, one a line, with every part.
    """
    settings = begin()
    wanted = read_wanted(settings, force, first, last)
    need_something_held(settings, is_named=snapshot is not None)
    from stopsearch.domain.filters import StopFilter
    from stopsearch.flows.quality import month_quality

    asked = StopFilter(forces=wanted.forces, first=wanted.first, last=wanted.last)
    with opened_snapshot(settings, as_of=as_of, snapshot=snapshot) as (connection, found):
        months = month_quality(connection, found, asked)
    if as_json:
        for month in months:
            say_json(month.as_json())
    elif months:
        table(_COLUMNS, [_row(month) for month in months])
    else:
        say("Nothing is held of what was asked for.")


def _row(month: MonthQuality) -> list[str]:
    return [
        month.force,
        str(month.month),
        number(month.stored),
        "" if month.volume.ratio is None else f"{month.volume.ratio:.2f}",
        *(
            _share(part)
            for part in (
                month.rejected,
                month.repeats,
                month.at_local_midnight,
                month.dated_outside_month,
                month.far_from_force,
                month.not_given["latitude"],
                month.not_given["outcome"],
                month.not_given["self_defined_ethnicity"],
            )
        ),
        ", ".join(month.flags),
    ]


def _share(part: Part) -> str:
    return "" if part.share is None else f"{part.share:.1%}"
