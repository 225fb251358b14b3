"""argparse with the house's errors, and what all commands' parsers share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from espalier.errors import Problem, UsageError

_OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*=", re.ASCII)


class Parser(argparse.ArgumentParser):
    """Raises UsageError instead of printing and exiting; `--help` still prints and exits."""

    def __init__(self, command: str, words: str, *, usage: str | None = None, epilog: str | None = None) -> None:
        super().__init__(
            prog=f"espalier {command}",
            usage=usage,
            description=words,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """The parser's complaint, with where to read on."""
        raise UsageError(Problem("", message, fix=f"see: {self.prog} --help"))

    def read(self, given: Sequence[str]) -> argparse.Namespace:
        """The arguments, by position and by flag in any order. Raises UsageError."""
        return self.parse_intermixed_args(list(given))

    def add_common(self) -> None:
        """The flags of every command."""
        self.add_argument("--json", action="store_true", help="print the result as JSON")
        self.add_argument("--quiet", action="store_true", help="print no progress")
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")


def split_overrides(words: Sequence[str], top: Sequence[str]) -> tuple[list[str], list[str]]:
    """(positionals, overrides). An override is `name=…` for a name at the top of a spec, or `dotted.name=…`.

    A file whose name looks like one is given as ./name.
    """
    positionals: list[str] = []
    overrides: list[str] = []
    for word in words:
        match = _OVERRIDE.match(word)
        is_override = match is not None and ("." in match[0] or match[0][:-1] in top)
        (overrides if is_override else positionals).append(word)
    return positionals, overrides
