"""
The table at the end of the trials.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chaos.plans import FAULTS
from chaos.trial import Result


def table_of(results: Sequence[Result]) -> str:
    """
    Give how the trials ended, one line a trial, and how often each fault was met.
    """
    lines = ["", f"{'trial':<24} {'seconds':>7} {'end':<14} faults"]
    for result in results:
        end = "as undisturbed" if result.is_good else "DIFFERS"
        lines.append(f"{result.plan.name:<24} {result.seconds:>7.1f} {end:<14} {result.plan}")
    met = Counter(fault.kind for result in results for fault in result.plan.faults)
    failed = Counter(fault.kind for result in results if not result.is_good for fault in result.plan.faults)
    lines += ["", f"{'fault':<45} {'trials':>6} {'differ':>6}"]
    lines += [f"{kind:<45} {met[kind]:>6} {failed[kind]:>6}" for kind in FAULTS if met[kind]]
    bad = sum(not result.is_good for result in results)
    late = sum(result.late for result in results)
    lines += ["", f"{len(results)} trials, {bad} with a difference; {late} faults came after the end of their batch."]
    return "\n".join(lines)
