"""
`stopsearch doctor`: examine the installation, the settings and the database.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from stopsearch.cli.arguments import AsJson
from stopsearch.cli.as_json import plain
from stopsearch.cli.exit_codes import UNHEALTHY
from stopsearch.cli.opening import opened, set_logs_up
from stopsearch.cli.terminal import many, safe, say, say_json
from stopsearch.domain.errors import StopSearchError
from stopsearch.settings import read_settings

if TYPE_CHECKING:
    from stopsearch.flows.doctor import Finding

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    ask_upstream: Annotated[
        bool, typer.Option("--ask-upstream", help="Also ask the publisher what it lists, by one request.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """
    Look for what is wrong, and say what to do.

    It looks at the settings, the data folder, the database, its schema, and whether the stops, totals and dead letters
    add up to what the revisions say; and at RabbitMQ, its queues, the workers and Redis, where they are set. Exit code
    8: something is wrong.
    """
    from stopsearch.flows import doctor as flow

    with ExitStack() as stack:
        try:
            settings = read_settings()
            set_logs_up(settings)
            if settings.database_url is None:
                # An embedded database is migrated by every command, so a missing schema would be no news.
                stack.enter_context(opened(settings))
        except StopSearchError:
            pass  # it is one of the findings
        findings = flow.doctor(ask_upstream=ask_upstream) + _services()
    failed = [finding for finding in findings if finding.verdict is flow.Verdict.FAIL]
    if as_json:
        for finding in findings:
            say_json(plain(finding))
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            style = _STYLES[finding.verdict]
            say(f"[{style}]{finding.verdict:4}[/{style}]  {finding.check:{width}}  {safe(finding.message)}")
            if finding.remedy:
                say(f"{'':4}  {'':{width}}  {safe(finding.remedy)}")
        say()
        say(f"[red]{many(len(failed), 'thing')} wrong.[/red]" if failed else "Nothing is wrong.")
    if failed:
        raise typer.Exit(UNHEALTHY)


def _services() -> list[Finding]:
    """
    Examine the broker and Redis, where they are set.
    """
    try:
        settings = read_settings()
    except StopSearchError:  # it is one of the findings
        return []
    if not settings.is_distributed and settings.redis_url is None:
        return []
    from stopsearch.worker.examine import examine_services

    return examine_services(settings)
