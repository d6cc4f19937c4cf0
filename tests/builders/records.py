"""
Records of the publisher, real and made up, sound and odd, for Hypothesis to draw.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

from builders.standin import make_api_record
from stopsearch.sample import sample_answers

# What the publisher's own shapes never hold, and what a careless one might send.
ODD_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["", " ", "True", "false", "0", "\0", "\x1f", "2023-07-15", "NaN", "-0.0", "Male", "\ud7ff", "é"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)
ODD_RECORDS: st.SearchStrategy[Any] = st.one_of(ODD_VALUES, st.just({}))


@cache
def real_records() -> tuple[dict[str, Any], ...]:
    """
    Give real records of the API: every recorded answer of the sample, each a few hundred.
    """
    answers = [json.loads(gzip.decompress(path.read_bytes())) for path in sample_answers()]
    return tuple(record for answer in answers for record in answer[:400])


@st.composite
def records(draw: st.DrawFn, *, odd: bool = True) -> Any:
    """
    Draw one record: a real or a made-up one, and where `odd`, often with something wrong in it.
    """
    base = draw(st.sampled_from([*real_records()[::7], make_api_record(), make_api_record(location=None)]))
    record = json.loads(json.dumps(base))
    if not odd:
        return record
    if draw(st.integers(0, 9)) == 0:
        return draw(ODD_RECORDS)
    for key in draw(st.lists(st.sampled_from([*sorted(record), "a key that nobody knows"]), max_size=2)):
        if draw(st.booleans()):
            record[key] = draw(ODD_VALUES)
        elif key != "type":  # a key that all records of a month lack is another matter
            record.pop(key, None)
    location = record.get("location")
    if isinstance(location, dict) and draw(st.integers(0, 4)) == 0:
        location[draw(st.sampled_from(["latitude", "longitude", "street"]))] = draw(ODD_VALUES)
    return record


@st.composite
def months(draw: st.DrawFn, *, odd: bool = True, max_size: int = 25) -> list[Any]:
    """
    Draw one month's records, exact repeats among them; the first is sound, so that no key is lacking in all.
    """
    drawn = draw(st.lists(records(odd=odd), max_size=max_size))
    repeats = draw(st.lists(st.sampled_from(drawn), max_size=5)) if drawn else []
    return draw(st.permutations([make_api_record(), *drawn, *repeats]))
