"""
The settings that a measured server runs with: those that ship, but for the limit on one client, who is the load tool.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from stopsearch.settings import Settings


def server_settings(**changes: Any) -> Settings:
    """
    Give them as settings.
    """
    return Settings(_env_file=None, client_requests_per_s=0, **changes)  # type: ignore[call-arg]  # of pydantic


def server_environment(conninfo: str, data_dir: Path, **changes: str) -> dict[str, str]:
    """
    Give them as environment variables, for a server that is a process of its own.
    """
    given = conninfo_to_dict(conninfo)
    return {
        "STOPSEARCH_DATABASE_URL": f"postgresql://{given['user']}@/{given['dbname']}?host={given['host']}",
        "STOPSEARCH_DATA_DIR": str(data_dir),
        "STOPSEARCH_CLIENT_REQUESTS_PER_S": "0",
        **{f"STOPSEARCH_{name.upper()}": value for name, value in changes.items()},
    }
