"""
The licence that the published records are under, as answers and files name it.
"""

from __future__ import annotations

LICENCE: dict[str, str] = {
    "name": "Open Government Licence v3.0",
    "url": "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/",
    "attribution": "Contains public sector information licensed under the Open Government Licence v3.0. "
    "Source: data.police.uk",
}
