"""
The command line: a door. It parses what was asked, calls one flow, and shapes the answer for people or scripts.
"""

from stopsearch.cli.app import main

__all__ = ["main"]
