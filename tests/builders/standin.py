"""
A stand-in for the publisher on a loopback port, and the records and files that it is fed with.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stopsearch.domain.months import Month
from stopsearch.standin.app import create_app
from stopsearch.standin.catalogue import Catalogue
from stopsearch.standin.faults import Faults
from stopsearch.standin.limit import Limit
from stopsearch.standin.publication import WINDOW_MONTHS, Publication
from stopsearch.standin.records import OUTCOME_IDS
from stopsearch.standin.serve import serving_in_thread
from stopsearch.standin.stats import Stats

# The one header of all published files, and the API's key of each column.
CSV_KEYS: dict[str, str] = {
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


@dataclass(frozen=True, kw_only=True)
class RunningStandin:
    """
    A stand-in that answers: `url` is the API's address (what `STOPSEARCH_UPSTREAM_URL` takes), `root` the server's.
    """

    root: str
    faults: Faults
    publication: Publication
    stats: Stats

    @property
    def url(self) -> str:
        """
        Give the address of the API.
        """
        return f"{self.root}/api"


@contextmanager
def running_standin(
    held: Catalogue | Sequence[Path] | Mapping[tuple[str, str], Any],
    *,
    limit: Limit | None = None,
    faults: Faults | None = None,
    newest: str | None = None,
    window: int = WINDOW_MONTHS,
    latency_s: float = 0.0,
    port: int = 0,
) -> Iterator[RunningStandin]:
    """
    Serve a catalogue, paths, or force-months given as {(force, "YYYY-MM"): records or bytes}, until the block ends.
    """
    if isinstance(held, Catalogue):
        catalogue = held
    else:
        catalogue = Catalogue.of(held) if isinstance(held, Mapping) else Catalogue.open(held)
    publication = Publication(catalogue, newest=Month.parse(newest) if newest else None, window=window)
    faults, stats = faults or Faults(), Stats()
    app = create_app(publication, limit=limit, faults=faults, stats=stats, latency_s=latency_s)
    try:
        with serving_in_thread(app, port=port) as root:
            yield RunningStandin(root=root, faults=faults, publication=publication, stats=stats)
    finally:
        catalogue.close()


def make_api_record(**fields: Any) -> dict[str, Any]:
    """
    Make a valid record of the API, but for the fields given. `outcome` given alone sets `outcome_object` with it.
    """
    outcome = fields.get("outcome", "A no further action disposal")
    record = {
        "age_range": "18-24",
        "outcome": outcome,
        "involved_person": fields.get("type") != "Vehicle search",
        "self_defined_ethnicity": "White - English/Welsh/Scottish/Northern Irish/British",
        "gender": "Male",
        "legislation": "Misuse of Drugs Act 1971 (section 23)",
        "outcome_linked_to_object_of_search": False,
        "datetime": "2023-07-15T12:30:00+00:00",
        "removal_of_more_than_outer_clothing": False,
        "outcome_object": {"id": OUTCOME_IDS.get(outcome or "", ""), "name": outcome or ""},
        "location": {
            "latitude": "52.629729",
            "street": {"id": 1737432, "name": "On or near Crescent Street"},
            "longitude": "-1.131592",
        },
        "operation": None,
        "officer_defined_ethnicity": "White",
        "type": "Person search",
        "operation_name": None,
        "object_of_search": "Controlled drugs",
    }
    return record | fields


def make_csv(records: Sequence[Mapping[str, Any]], *, newline: str = "\r\n") -> bytes:
    """
    Make the file that the publisher would give for records of the API: one header, sorted by time.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=newline)
    writer.writerow(CSV_KEYS)
    for record in sorted(records, key=lambda record: record["datetime"]):
        flat = {**(record["location"] or {}), **record}
        values = [flat.get(key) for key in CSV_KEYS.values()]
        writer.writerow(["" if value is None else str(value) for value in values])
    return out.getvalue().encode()
