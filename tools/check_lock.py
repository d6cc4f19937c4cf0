"""
Make sure that the lock names no package host but PyPI's own: run as `python -m tools.check_lock`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

LOCK = Path(__file__).parent.parent / "uv.lock"
OWN_HOSTS = {"https://pypi.org", "https://files.pythonhosted.org"}


def foreign_hosts(lock: str) -> set[str]:
    """
    Give the hosts in a lock file that are not PyPI's own.
    """
    return set(re.findall(r'https?://[^/"]+', lock)) - OWN_HOSTS


def main() -> int:
    """
    Check the lock file.
    """
    foreign = foreign_hosts(LOCK.read_text())
    if foreign:
        sys.stderr.write(f"uv.lock names {', '.join(sorted(foreign))}: lock again with no mirror set.\n")
    return 1 if foreign else 0


if __name__ == "__main__":
    sys.exit(main())
