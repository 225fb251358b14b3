"""The command `espalier`, made from the tables of verbs and commands. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from espalier.cli import messages
from espalier.cli.top import command_of, help_text, version_text

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code: 0, 1, 2, 3 or 130 (see `espalier.errors`)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    messages.prepare_streams()
    return messages.outcome(lambda: _run(given), debug="--debug" in given)


def _run(given: list[str]) -> int:
    switches, name, rest = command_of(given)
    if name is None:
        if "--version" in switches:
            return messages.answer(version_text())
        messages.answer(help_text())
        return 0 if set(switches) & {"-h", "--help"} else 2
    return _command(name)(name, [*switches, *rest])


def _command(name: str) -> Callable[[str, list[str]], int]:
    """What runs a verb, `spec`, `schema`, or a command of a noun group. Raises UsageError for an unknown name."""
    from espalier.cli import nouns, printed, verbs
    from espalier.cli.top import GROUPS, PRINTED, unknown

    if name in GROUPS:
        return nouns.run
    if name in PRINTED:
        return printed.run
    if verbs.is_verb(name):
        return verbs.run
    raise unknown(name)
