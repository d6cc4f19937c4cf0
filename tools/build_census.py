"""
Build the bundled census counts from the tables they were found in: one tidy form for both censuses, checked on the way.

The collection's folder holds `census2011_ethnic_group_by_police_force_area.csv` (one line an area, one column a group,
subtotals among them) and `census2021_ethnic_group_by_police_force_area.csv` (one line an area and group). Building
twice gives the same bytes.

    python tools/build_census.py COLLECTION [TARGET]
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src" / "stopsearch" / "census"

COLUMNS = ("force", "census_year", "ethnic_group", "label_group", "persons")

# The groups of 2021 by their first words; those of 2011 are led by columns that bear the short names.
GROUPS = {
    "White": "White",
    "Mixed or Multiple ethnic groups": "Mixed",
    "Asian, Asian British or Asian Welsh": "Asian",
    "Black, Black British, Black Welsh, Caribbean or African": "Black",
    "Other ethnic group": "Other",
}

# The two tables name three areas differently; every other name is the same in both.
NAMES_2011 = {
    "Avon & Somerset": "Avon and Somerset",
    "City of London": "London, City of",
    "Metropolitan": "Metropolitan Police",
}

# Usual residents of England and Wales, as the two censuses published them.
TOTALS = {2011: 56_075_912, 2021: 59_597_578}

Row = tuple[str, int, str, str, int]


def read_2021(path: Path) -> tuple[list[Row], dict[str, str]]:
    """
    Read the table of 2021, and which force has which area's name.
    """
    rows: list[Row] = []
    forces: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            forces[line["pfa_name"]] = line["force_id"]
            group = GROUPS[line["ethnic_group_6"]]
            rows.append((line["force_id"], 2021, line["ethnic_group_20"], group, int(line["persons"])))
    return rows, forces


def read_2011(path: Path, forces: dict[str, str]) -> Iterator[Row]:
    """
    Read the table of 2011 without its subtotals, each of which must be the sum of the columns that follow it.
    """
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            area = line.pop("PFA16NM")
            force = forces[NAMES_2011.get(area, area)]
            counts = {re.sub(r"^Ethnic Group: |; measures: Value$", "", column): int(n) for column, n in line.items()}
            total = counts.pop("All categories: Ethnic group")
            subtotals = {name: n for name, n in counts.items() if name in GROUPS.values()}
            sums: Counter[str] = Counter()
            group = ""
            for name, persons in counts.items():
                if name in subtotals:
                    group = name
                    continue
                sums[group] += persons
                yield force, 2011, name, group, persons
            if sums != subtotals or sum(subtotals.values()) != total:
                raise SystemExit(f"{area}: the groups of 2011 do not add up to their subtotals.")


def write(target: Path, year: int, rows: Iterable[Row], forces: set[str]) -> None:
    """
    Write one census, by force and in the table's own order of groups.
    """
    ordered = sorted(rows, key=lambda row: row[0])
    found = sum(row[4] for row in ordered)
    if found != TOTALS[year] or {row[0] for row in ordered} != forces or len(forces) != 43:
        raise SystemExit(f"{year}: {found} residents of {len(forces)} forces, not {TOTALS[year]} of 43.")
    with (target / f"census{year}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(ordered)


def main(collection: Path, target: Path) -> None:
    """
    Build both files.
    """
    rows, forces = read_2021(collection / "census2021_ethnic_group_by_police_force_area.csv")
    write(target, 2021, rows, set(forces.values()))
    earlier = read_2011(collection / "census2011_ethnic_group_by_police_force_area.csv", forces)
    write(target, 2011, earlier, set(forces.values()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else TARGET)
