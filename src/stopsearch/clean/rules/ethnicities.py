"""
What the publisher writes for an ethnicity, and what it means.
"""

from __future__ import annotations

import polars as pl

_BLACK = "Black/African/Caribbean/Black British"
_MIXED = "Mixed/Multiple ethnic groups"

# Self-defined labels of 2014 to 2017, with the Home Office's code in brackets. O1 changes its broad group (Chinese
# was "Other" and is "Asian" since the 2011 census's list); NS is no ethnic group at all.
OLD_ETHNICITIES: dict[str, str] = {
    "White - White British (W1)": "White - English/Welsh/Scottish/Northern Irish/British",
    "White - White Irish (W2)": "White - Irish",
    "White - Any other White ethnic background (W9)": "White - Any other White background",
    "Mixed - White and Black Caribbean (M1)": f"{_MIXED} - White and Black Caribbean",
    "Mixed - White and Black African (M2)": f"{_MIXED} - White and Black African",
    "Mixed - White and Asian (M3)": f"{_MIXED} - White and Asian",
    "Mixed - Any other Mixed ethnic background (M9)": (f"{_MIXED} - Any other Mixed/Multiple ethnic background"),
    "Asian or Asian British - Indian (A1)": "Asian/Asian British - Indian",
    "Asian or Asian British - Pakistani (A2)": "Asian/Asian British - Pakistani",
    "Asian or Asian British - Bangladeshi (A3)": "Asian/Asian British - Bangladeshi",
    "Asian or Asian British - Any other Asian ethnic background (A9)": (
        "Asian/Asian British - Any other Asian background"
    ),
    "Black or Black British - Caribbean (B1)": f"{_BLACK} - Caribbean",
    "Black or Black British - African (B2)": f"{_BLACK} - African",
    "Black or Black British - Any other Black ethnic background (B9)": (
        f"{_BLACK} - Any other Black/African/Caribbean background"
    ),
    "Chinese or other ethnic group - Chinese (O1)": "Asian/Asian British - Chinese",
    "Chinese or other ethnic group - Any other ethnic group (O9)": ("Other ethnic group - Any other ethnic group"),
    "Not Stated (NS)": "Other ethnic group - Not stated",
}


def mend_old_ethnicity(column: pl.Series) -> tuple[pl.Series, int]:
    """
    Give self-defined ethnicities of before 2018 their present labels. Seen in metropolitan 2016-06 and 2017-01.
    """
    old = column.is_in(list(OLD_ETHNICITIES))
    count = int(old.sum())
    return (column.replace(OLD_ETHNICITIES), count) if count else (column, 0)
