"""
What rates can be asked for.
"""

from __future__ import annotations

from enum import StrEnum

from stopsearch.domain.grouping import Group


class Measure(StrEnum):
    """
    What is divided by what.
    """

    RESIDENTS = "residents"  # stops by the residents of the force's area
    FIND = "find"  # stops that found something by stops with an outcome


class Definer(StrEnum):
    """
    Whose word is taken for the ethnic group.
    """

    SELF = "self"  # the person's own
    OFFICER = "officer"

    @property
    def group(self) -> Group:
        """
        Give the broad groups that go by it.
        """
        return Group.SELF_DEFINED_ETHNIC_GROUP if self is Definer.SELF else Group.OFFICER_DEFINED_ETHNIC_GROUP
