"""
The fields of a stop: the publisher's names in both shapes, and the order in which identity reads them.
"""

from __future__ import annotations

# The archive's header, word for word, beside the API's key of the same field. One single header was found in
# all 1,528 files measured. The order is the archive's, and part of identity version 1: never change it.
ARCHIVE_COLUMNS: dict[str, str] = {
    "Type": "type",
    "Date": "datetime",
    "Part of a policing operation": "operation",
    "Policing operation": "operation_name",
    "Latitude": "latitude",
    "Longitude": "longitude",
    "Gender": "gender",
    "Age range": "age_range",
    "Self-defined ethnicity": "self_defined_ethnicity",
    "Officer-defined ethnicity": "officer_defined_ethnicity",
    "Legislation": "legislation",
    "Object of search": "object_of_search",
    "Outcome": "outcome",
    "Outcome linked to object of search": "outcome_linked_to_object_of_search",
    "Removal of more than just outer clothing": "removal_of_more_than_outer_clothing",
}

FIELDS: tuple[str, ...] = tuple(ARCHIVE_COLUMNS.values())

BOOLEAN_FIELDS: tuple[str, ...] = (
    "operation",
    "outcome_linked_to_object_of_search",
    "removal_of_more_than_outer_clothing",
)
