"""
Look the locked packages up among known vulnerabilities, where the service that knows them is in reach.

Run as `python -m tools.audit_dependencies`. A found vulnerability fails it; no answer from the service is said, and
fails nothing, since a build must also work behind a package mirror.
"""

from __future__ import annotations

import json
import subprocess
import sys


def main() -> int:
    """
    Run pip-audit over this environment.
    """
    run = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    try:
        packages = json.loads(run.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        sys.stderr.write(f"pip-audit could not reach its service: {run.stderr.strip()[-300:]}\n")
        return 0
    looked_up = [package for package in packages if "vulns" in package]
    bad = [package for package in looked_up if package["vulns"]]
    for package in bad:
        names = ", ".join(fault["id"] for fault in package["vulns"])
        sys.stderr.write(f"{package['name']} {package['version']}: {names}\n")
    if not looked_up:
        sys.stderr.write("pip-audit's service is out of reach here: no package was looked up.\n")
    else:
        sys.stdout.write(f"{len(looked_up)} packages looked up, {len(bad)} with known vulnerabilities.\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
