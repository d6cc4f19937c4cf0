"""
Part the records that keep the contract from those that break it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaErrors

from stopsearch.domain.errors import MonthRefused
from stopsearch.validate.contract import ALL_RULES, EVERY_RULE, STOPS


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """
    Why one record broke the contract: the rule, the column it is about, and what the rule asks for.
    """

    rule: str
    column: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """
    One force-month parted: every record lands on exactly one side.
    """

    accepted: pl.DataFrame  # the tidy rows that keep the contract, in the publisher's order
    rejected: dict[int, tuple[Rejection, ...]]  # record number -> every rule that the record broke

    def rejected_by_rule(self) -> dict[str, int]:
        """
        Count the rejections of each rule.
        """
        counts: dict[str, int] = {}
        for rejections in self.rejected.values():
            for rejection in rejections:
                counts[rejection.rule] = counts.get(rejection.rule, 0) + 1
        return counts


def split(tidy: pl.DataFrame) -> Split:
    """
    Part the stops that keep the contract from those that break it.

    Every row lands on exactly one side: ``len(accepted) + len(rejected) == len(tidy)``. A bad row costs
    the same be there few or many: the rules are evaluated over columns, once more for the rows that break one.

    Args:
        tidy: One row per published record of one force-month, as `clean_stops` makes it.

    Raises:
        SchemaErrors: The frame itself is not what `clean_stops` makes: a fault of ours, never of the data.
    """
    try:
        # Set here so that no setting of the environment can switch the contract off.
        with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            STOPS.validate(tidy, lazy=True)
    except SchemaErrors as errors:
        if any(getattr(error.check, "name", None) != EVERY_RULE for error in errors.schema_errors):
            raise
        return _part(tidy)
    return Split(accepted=tidy, rejected={})


def refuse_if_too_many(*, received: int, rejected: int, share: float, at_least: int, by_rule: dict[str, int]) -> None:
    """
    Refuse a month whole where more than a share of its records is rejected.

    Half a month served as a whole one is worse than the last revision.

    Raises:
        MonthRefused: More than `share` of the records, and at least `at_least` of them, are rejected.
    """
    if rejected < max(at_least, 1) or rejected <= share * received:
        return
    rules = ", ".join(f"{rule} {count}" for rule, count in sorted(by_rule.items(), key=lambda item: -item[1]))
    raise MonthRefused(
        f"{rejected} of {received} records were rejected, more than the {share:.0%} allowed ({rules}).",
        remedy="The last revision stays. If the publisher has new labels, add them and run the month again.",
    )


def _part(tidy: pl.DataFrame) -> Split:
    kept = tidy.select(rule.keeps.alias(rule.name) for rule in ALL_RULES)
    is_accepted = kept.select(pl.all_horizontal(pl.all())).to_series()
    broken = kept.with_columns(tidy["record_number"], tidy["unreadable"]).filter(~is_accepted)
    by_name = {rule.name: Rejection(rule=rule.name, column=rule.column, message=rule.message) for rule in ALL_RULES}
    rejected: dict[int, tuple[Rejection, ...]] = {}
    names = [rule.name for rule in ALL_RULES]
    for number, unreadable, *flags in broken.select("record_number", "unreadable", *names).iter_rows():
        if unreadable is not None:
            rejected[number] = (Rejection(rule=unreadable, column="record", message=by_name[names[0]].message),)
        else:
            rejected[number] = tuple(by_name[n] for n, keeps in zip(names, flags, strict=True) if not keeps)
    return Split(accepted=tidy.filter(is_accepted), rejected=rejected)
