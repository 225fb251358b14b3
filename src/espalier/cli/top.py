"""`espalier --help` and `--version`, and the first word of a command line. Imports tables only."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espalier import __version__
from espalier.actions import ACTIONS
from espalier.errors import Problem, UsageError


@dataclass(frozen=True)
class Group:
    """A noun and its table of `espalier.commands.Command`, as 'module:attribute'."""

    help: str
    table: str


GROUPS: Mapping[str, Group] = {
    "data": Group("Check, count, split, convert data sets", "espalier.data.commands_table:DATA_COMMANDS"),
    "weights": Group(
        "Start weights: list, import, licences", "espalier.backbones.weights.commands_table:WEIGHT_COMMANDS"
    ),
}

PRINTED: Mapping[str, str] = {
    "spec": "Print a network's full default spec as commented YAML",
    "schema": "Print the JSON Schema of a network's spec",
}

_SWITCHES = ("-h", "--help", "--version", "--debug", "--quiet", "--json")

_SHORT_WAY = """\
Your own images in, a vision model that runs anywhere out.

usage: espalier VERB ARGUMENTS [section.field=value ...] [--out DIR] [--json] [--quiet] [--debug]

the short way:
  espalier fit PHOTOS            check, train, evaluate, export, verify, report
  espalier predict BUNDLE IMAGES"""


def command_of(given: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """The switches before the command's name, the name (None without one), and what follows it."""
    for position, word in enumerate(given):
        if word not in _SWITCHES:
            if word.startswith("-"):
                raise UsageError(Problem("", f"unknown option '{word}' before the verb", fix="see: espalier --help"))
            return list(given[:position]), word, list(given[position + 1 :])
    return list(given), None, []


def help_text() -> str:
    """The page of `espalier --help`."""
    verbs = {action.name: action.help for action in ACTIONS}
    nouns = {f"{name} …": group.help for name, group in GROUPS.items()}
    parts = [_SHORT_WAY, _listed("verbs", verbs), _listed("nouns", nouns), _listed("printed", dict(PRINTED)), _ENDING]
    return "\n\n".join(parts)


def version_text() -> str:
    """`espalier 0.1.0`."""
    return f"espalier {__version__}"


def unknown(name: str) -> UsageError:
    """The error for a word that is neither verb nor noun."""
    known = [*(action.name for action in ACTIONS), *GROUPS, *PRINTED]
    close = difflib.get_close_matches(name, known, n=1)
    fix = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(known)}"
    return UsageError(Problem("", f"there is no verb '{name}'", fix=fix))


_ENDING = """\
espalier VERB --help tells more. A field of the spec is set by its name: train.epochs=3 data.classes=[cat,dog]
exit codes: 0 done, 1 the work failed, 2 the input is wrong, 3 something isn't installed, 130 interrupted"""


def _listed(title: str, entries: Mapping[str, str]) -> str:
    return "\n".join([f"{title}:", *(f"  {name:<12} {words}" for name, words in entries.items())])
