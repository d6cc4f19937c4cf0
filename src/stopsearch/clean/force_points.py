"""
The middle of each territorial force's stops, against which a stop's point is held.
"""

from __future__ import annotations

# Latitude and longitude, in degrees: the medians of the located stops that the force published in 2018-04 to
# 2023-08. South Yorkshire published no location in any of its months: its point is the middle of its area. The
# British Transport Police is left out, since it works everywhere. Changing a point changes a flag that is
# stored: raise RULES_VERSION with it.
FORCE_POINTS: dict[str, tuple[float, float]] = {
    "avon-and-somerset": (51.425, -2.6),
    "bedfordshire": (51.907, -0.452),
    "cambridgeshire": (52.402, -0.159),
    "cheshire": (53.29, -2.601),
    "city-of-london": (51.515, -0.085),
    "cleveland": (54.568, -1.246),
    "cumbria": (54.642, -3.137),
    "derbyshire": (52.926, -1.475),
    "devon-and-cornwall": (50.457, -4.084),
    "dorset": (50.725, -1.933),
    "durham": (54.695, -1.567),
    "dyfed-powys": (52.113, -4.081),
    "essex": (51.724, 0.545),
    "gloucestershire": (51.863, -2.218),
    "greater-manchester": (53.482, -2.239),
    "gwent": (51.601, -3.019),
    "hampshire": (50.903, -1.176),
    "hertfordshire": (51.752, -0.274),
    "humberside": (53.741, -0.359),
    "kent": (51.336, 0.527),
    "lancashire": (53.338, -2.698),
    "leicestershire": (52.636, -1.139),
    "lincolnshire": (53.15, -0.53),
    "merseyside": (53.421, -2.962),
    "metropolitan": (51.515, -0.103),
    "norfolk": (52.633, 1.118),
    "north-wales": (53.216, -3.482),
    "north-yorkshire": (53.994, -1.093),
    "northamptonshire": (52.269, -0.846),
    "northumbria": (54.974, -1.611),
    "nottinghamshire": (52.956, -1.151),
    "south-wales": (51.513, -3.264),
    "south-yorkshire": (53.484, -1.331),
    "staffordshire": (52.984, -2.133),
    "suffolk": (52.067, 1.14),
    "surrey": (51.326, -0.49),
    "sussex": (50.832, -0.17),
    "thames-valley": (51.717, -1.065),
    "warwickshire": (52.371, -1.507),
    "west-mercia": (52.368, -2.302),
    "west-midlands": (52.483, -1.895),
    "west-yorkshire": (53.792, -1.635),
    "wiltshire": (51.453, -1.8),
}
