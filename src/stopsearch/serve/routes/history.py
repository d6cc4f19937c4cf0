"""
How the data changed: snapshots, revisions, and what became of stops between them.
"""

from __future__ import annotations

from fastapi import APIRouter

from stopsearch.serve.routes import changes, revisions, snapshots

router = APIRouter()
for _module in (snapshots, revisions, changes):
    router.include_router(_module.router)
