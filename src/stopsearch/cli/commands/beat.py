"""
`stopsearch beat`: the clock of the schedule.
"""

from __future__ import annotations

from stopsearch.cli.opening import at_least_info, begin


def beat() -> None:
    """
    Start batches by the schedule, until Ctrl-C or SIGTERM.

    Every day the batch of what is due, the replay of dead letters that older rules made, and housekeeping; every week
    the recheck of all that is listed. Hours are settings, in UTC. What was due while no Beat ran is made up for, once.
    It needs STOPSEARCH_BROKER_URL alone, keeps no file, and does no harm where several run.
    """
    settings = at_least_info(begin())
    from stopsearch.worker.run_beat import run_beat

    run_beat(settings)
