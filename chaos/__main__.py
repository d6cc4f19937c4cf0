"""
`python -m chaos`: as many trials as are asked for, each drawn from the seed, and a table of how they ended.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from chaos.plans import Kind, draw_plan
from chaos.stack import Stack, running_stack
from chaos.table import table_of
from chaos.trial import Result, run_trial, undisturbed
from stopsearch.telemetry.logs import configure_logs


def main() -> int:
    """
    Run what the command line asks for.

    Returns:
        1 where a trial ended otherwise than an undisturbed run, else 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description="Disturb workers, and see that nothing is lost."
    )
    parser.add_argument("--trials", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="what the plans are drawn from (default: 1)")
    parser.add_argument("--first", type=int, default=0, help="number of the first trial; with --trials 1, replays one")
    parser.add_argument("--logs", type=Path, help="folder for the logs of workers (default: kept where a trial fails)")
    asked = parser.parse_args()
    folder = asked.logs or Path(tempfile.mkdtemp(prefix="stopsearch-chaos-", dir="/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    configure_logs(level="error", shape="auto")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended then, too
    results: list[Result] = []
    try:
        with running_stack(folder) as stack:
            results += _run(stack, seed=asked.seed, numbers=range(asked.first, asked.first + asked.trials))
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130
    say(table_of(results))
    failed = [result for result in results if not result.is_good]
    if failed or asked.logs:
        say(f"Logs of workers: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def say(line: str) -> None:
    """
    Tell how far it is.
    """
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _run(stack: Stack, *, seed: int, numbers: range) -> list[Result]:
    left_out = frozenset() if stack.has_small_disk else frozenset({Kind.FILL_DISK})
    for kind in left_out:
        say(f"Left out: {kind}; it needs a root that may mount.")
    results = []
    for plan in (undisturbed(), *(draw_plan(seed, number, left_out=left_out) for number in numbers)):
        say(f"{time.strftime('%H:%M:%S')} {plan.name}: {plan}")
        result = run_trial(stack, plan, say=say)
        results.append(result)
        say(f"    {'as undisturbed' if result.is_good else 'DIFFERS'}, {result.seconds:.1f} s")
        for line in result.wrong:
            say(f"    - {line}")
        if not plan.faults and not result.is_good:
            say("Even an undisturbed trial does not end as it should: no other is done.")
            break
    return results


if __name__ == "__main__":
    sys.exit(main())
