"""The commands of the noun groups (`espalier data …`, `espalier weights …`), as plain tables that import nothing.

A room with commands keeps a tuple of `Command` in a module that imports only this one, e.g. `DATA_COMMANDS` in
`espalier.data.commands_table`. The command line is made from it; the function behind a command is imported when it is
run. It is called with one keyword for each argument, named by `Argument.key`, and gives back a `Reply`.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Argument:
    """One argument: by position (`PATH`), or by flag (`--fix`) when its name starts with dashes.

    `kind` says how its text is read: 'switch' takes no value and is True when given; 'yaml' reads lists and mappings.
    `many` takes one or more values and gives a tuple; `default` is what an optional argument is when it is left out
    (() for one with `many`). A flag is optional unless `required`; an argument by position is required unless
    `required=False`.
    """

    name: str
    help: str
    kind: Literal["text", "integer", "number", "switch", "yaml"] = "text"
    many: bool = False
    required: bool | None = None
    default: str | int | float | None = None
    choices: tuple[str, ...] = ()

    @property
    def is_flag(self) -> bool:
        """Is it written with dashes?"""
        return self.name.startswith("--")

    @property
    def key(self) -> str:
        """The keyword that the function gets it by: `--near-duplicates` → near_duplicates, `PATH` → path.

        A word that Python keeps for itself gets an underscore: `--as` → as_.
        """
        name = self.name.lstrip("-").replace("-", "_").lower()
        return f"{name}_" if keyword.iskeyword(name) else name

    @property
    def is_required(self) -> bool:
        """Must it be given?"""
        return (not self.is_flag) if self.required is None else self.required


@dataclass(frozen=True)
class Command:
    """One command of a noun group. `run` is 'module:function'; `extra` is what must be installed for it."""

    name: str
    help: str
    run: str
    arguments: tuple[Argument, ...] = ()
    extra: str | None = None


@dataclass(frozen=True)
class Reply:
    """What a command says: `lines` for people, `data` (plain JSON data) for `--json`, and the exit code.

    `exit_code` is 1 where the command worked and its answer is no (`data check` that found errors). What is wrong with
    the command's input is raised instead, as an EspalierError.
    """

    lines: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = 0
