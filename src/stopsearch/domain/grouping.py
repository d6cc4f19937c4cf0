"""
What totals can be grouped by, and the values that each of these takes, in the order in which answers list them.
"""

from __future__ import annotations

from enum import StrEnum

from stopsearch.domain.dimensions import GROUPED_FIELDS, WEEKDAYS
from stopsearch.domain.vocabulary import VOCABULARY

MOST_GROUPS = 3

Value = str | int | None


class Group(StrEnum):
    """
    One thing to group totals by, under the name that doors and answers use.
    """

    FORCE = "force"
    MONTH = "month"
    QUARTER = "quarter"  # of the published month: 2020-Q1
    YEAR = "year"  # of the published month
    TYPE = "type"
    GENDER = "gender"
    AGE_RANGE = "age_range"
    SELF_DEFINED_ETHNICITY = "self_defined_ethnicity"
    SELF_DEFINED_ETHNIC_GROUP = "self_defined_ethnic_group"
    OFFICER_DEFINED_ETHNICITY = "officer_defined_ethnicity"
    OFFICER_DEFINED_ETHNIC_GROUP = "officer_defined_ethnic_group"
    LEGISLATION = "legislation"
    OBJECT_OF_SEARCH = "object_of_search"
    OUTCOME = "outcome"
    OUTCOME_GROUP = "outcome_group"
    HOUR = "hour"  # local; None where the force-month gives dates without times
    WEEKDAY = "weekday"  # of the local date

    @property
    def dimension(self) -> str | None:
        """
        Give the field that it is told from; None where the force-month tells it.
        """
        return None if self in _OF_MONTHS else GROUPED_FIELDS.get(self, str(self))

    @property
    def is_of_ethnicity(self) -> bool:
        """
        Tell whether it compares ethnicities or ethnic groups.
        """
        return self.dimension in ("self_defined_ethnicity", "officer_defined_ethnicity")

    def is_known_ethnicity(self, value: Value) -> bool:
        """
        Tell whether a value of an ethnicity is, or is of, a known ethnic group: "not stated" is not.
        """
        return value is not None and (self in GROUPED_FIELDS or value in _OF_KNOWN_GROUP)

    @property
    def values(self) -> tuple[Value, ...]:
        """
        Give every value in the order of answers, the unknown (None) last. Of the force-month's own groups, none.
        """
        return (*dict.fromkeys(value for value in self.value_by_code if value is not None), None)

    @property
    def value_by_code(self) -> tuple[Value, ...]:
        """
        Give the value of each code of its dimension, by code; that of code 0, for nothing given, is None.
        """
        if self.dimension is None:
            return ()
        if self is Group.HOUR:
            return (None, *range(24))
        if self is Group.WEEKDAY:
            return (None, *WEEKDAYS)
        is_broad = self in GROUPED_FIELDS
        texts = {label.code: label.group if is_broad else label.text for label in VOCABULARY[self.dimension]}
        return tuple(texts.get(code) for code in range(max(texts) + 1))


_OF_MONTHS = frozenset({Group.FORCE, Group.MONTH, Group.QUARTER, Group.YEAR})
_OF_KNOWN_GROUP = frozenset(
    label.text
    for name in ("self_defined_ethnicity", "officer_defined_ethnicity")
    for label in VOCABULARY[name]
    if label.group is not None
)
