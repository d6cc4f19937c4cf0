"""
Police forces by the publisher's ids, and the names that the publisher's own list does not give.
"""

from __future__ import annotations

import re

from stopsearch.domain.errors import UnknownForce

_PATTERN = re.compile(r"[a-z](?:[a-z-]{0,38}[a-z])?", re.ASCII)

# `/forces` lists 44 forces; btp is not among them, though it publishes stops (probed 2026-10-01). The names
# are kept here so that an archive can be read with no upstream in reach; a name from `/forces` wins.
FORCE_NAMES: dict[str, str] = {
    "avon-and-somerset": "Avon and Somerset Constabulary",
    "bedfordshire": "Bedfordshire Police",
    "btp": "British Transport Police",
    "cambridgeshire": "Cambridgeshire Constabulary",
    "cheshire": "Cheshire Constabulary",
    "city-of-london": "City of London Police",
    "cleveland": "Cleveland Police",
    "cumbria": "Cumbria Constabulary",
    "derbyshire": "Derbyshire Constabulary",
    "devon-and-cornwall": "Devon & Cornwall Police",
    "dorset": "Dorset Police",
    "durham": "Durham Constabulary",
    "dyfed-powys": "Dyfed-Powys Police",
    "essex": "Essex Police",
    "gloucestershire": "Gloucestershire Constabulary",
    "greater-manchester": "Greater Manchester Police",
    "gwent": "Gwent Police",
    "hampshire": "Hampshire Constabulary",
    "hertfordshire": "Hertfordshire Constabulary",
    "humberside": "Humberside Police",
    "kent": "Kent Police",
    "lancashire": "Lancashire Constabulary",
    "leicestershire": "Leicestershire Police",
    "lincolnshire": "Lincolnshire Police",
    "merseyside": "Merseyside Police",
    "metropolitan": "Metropolitan Police Service",
    "norfolk": "Norfolk Constabulary",
    "north-wales": "North Wales Police",
    "north-yorkshire": "North Yorkshire Police",
    "northamptonshire": "Northamptonshire Police",
    "northumbria": "Northumbria Police",
    "nottinghamshire": "Nottinghamshire Police",
    "northern-ireland": "Police Service of Northern Ireland",
    "south-wales": "South Wales Police",
    "south-yorkshire": "South Yorkshire Police",
    "staffordshire": "Staffordshire Police",
    "suffolk": "Suffolk Constabulary",
    "surrey": "Surrey Police",
    "sussex": "Sussex Police",
    "thames-valley": "Thames Valley Police",
    "warwickshire": "Warwickshire Police",
    "west-mercia": "West Mercia Police",
    "west-midlands": "West Midlands Police",
    "west-yorkshire": "West Yorkshire Police",
    "wiltshire": "Wiltshire Police",
}


def parse_force_id(text: str) -> str:
    """
    Check that the text has the form of a force id. A force that we have never heard of is still a force: which
    forces publish is told by availability and by the archives, not by a list of ours.

    Raises:
        UnknownForce: The text cannot be a force id.
    """
    if _PATTERN.fullmatch(text) is None:
        raise UnknownForce(
            f"'{text}' is not a police force's id.",
            remedy="Ids are lower-case words with hyphens, for example 'metropolitan' or 'west-yorkshire'.",
        )
    return text
