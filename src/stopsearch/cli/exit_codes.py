"""
What the exit code of a command says. The codes of errors are kept with the errors, in `stopsearch.domain.errors`.
"""

from __future__ import annotations

from typing import Final

OK: Final = 0
BROKEN: Final = 1  # something that should not happen: a fault of ours
FAILURES: Final = 7  # it went to its end, but some force-months failed or something was refused
UNHEALTHY: Final = 8  # `doctor` found something wrong
INTERRUPTED: Final = 130  # by Ctrl-C, as shells say it; ended by SIGTERM it is 143
BROKEN_PIPE: Final = 141  # whoever read the output stopped reading

MEANINGS: Final[dict[int, str]] = {
    OK: "It went well.",
    BROKEN: "Something broke that should not: a fault of stopsearch. Please report it.",
    2: "What was asked for can't be meant: an unknown force, month, range, file or option. Nothing was written.",
    3: "A setting can't be used: the database's address, say, or its user's rights. No stop was written.",
    4: "The publisher, or an archive, could not be read.",
    5: "A month was refused, because too many of its records were rejected. The last revision stays.",
    6: "The database is away or busy, has no schema yet or a newer one, or refused a statement; or RabbitMQ is away.",
    FAILURES: "It went to its end, but some force-months failed or something was refused by name.",
    UNHEALTHY: "`doctor` found something wrong.",
    INTERRUPTED: "It was interrupted by Ctrl-C (143: by SIGTERM). The next call goes on from there.",
    BROKEN_PIPE: "Whoever read the output stopped reading, as `head` does.",
}
