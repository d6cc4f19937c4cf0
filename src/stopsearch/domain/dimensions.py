"""
What stops can be counted by: the fields of low cardinality that the rollups are kept for, and how values are coded.
"""

from __future__ import annotations

from enum import IntEnum

from stopsearch.domain.vocabulary import VOCABULARY


class Dimension(IntEnum):
    """
    One thing that totals are kept by, with the code that `stop_total` keeps. Codes are frozen.
    """

    TYPE = 1
    GENDER = 2
    AGE_RANGE = 3
    SELF_DEFINED_ETHNICITY = 4
    OFFICER_DEFINED_ETHNICITY = 5
    LEGISLATION = 6
    OBJECT_OF_SEARCH = 7
    OUTCOME = 8
    HOUR = 9  # local hour + 1; 0 where the force gave dates without times
    WEEKDAY = 10  # ISO weekday of the local date: 1 is Monday

    @property
    def field(self) -> str:
        """
        Give the name that doors and statements use.
        """
        return self.name.lower()


# Dimensions whose values are labels of the vocabulary, by the field's name.
LABEL_DIMENSIONS: dict[str, Dimension] = {each.field: each for each in Dimension if each.field in VOCABULARY}

# Dimensions that `stop_count` keeps together, so that any of them can be combined.
COUNTED_TOGETHER: tuple[str, ...] = (
    "type",
    "gender",
    "age_range",
    "self_defined_ethnicity",
    "officer_defined_ethnicity",
    "outcome",
)

# Broad groups that stand for several labels of a field.
GROUPED_FIELDS: dict[str, str] = {
    "self_defined_ethnic_group": "self_defined_ethnicity",
    "officer_defined_ethnic_group": "officer_defined_ethnicity",
    "outcome_group": "outcome",
}

WEEKDAYS: tuple[str, ...] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
