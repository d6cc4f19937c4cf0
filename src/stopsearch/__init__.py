"""
Police stop-and-search data of England and Wales, from data.police.uk to a PostgreSQL that can be trusted.
"""

__version__ = "0.1.0"
