"""The verbs on the command line: one parser for each, made from the ACTIONS table and the spec's fields."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from espalier.actions import Action, Positional, get
from espalier.cli import messages
from espalier.cli.arguments import Parser, split_overrides
from espalier.errors import Problem, UsageError

_SPEC = Positional("SPEC", "", "a spec file (YAML); espalier spec NETWORK prints one")


def is_verb(name: str) -> bool:
    """Is it in the table?"""
    return get(name) is not None


def run(name: str, given: list[str]) -> int:
    """Runs the verb and prints its result."""
    action = get(name)
    assert action is not None
    arguments = parser(action).read(given)
    from espalier.actions import api

    words, overrides = split_overrides(arguments.words, _top_names())
    spec, values = _assigned(action, words, overrides, resumed=bool(getattr(arguments, "resume", None)))
    result = api.call(
        name,
        {**values, **_flag_values(action, arguments)},
        spec=spec,
        out=arguments.out,
        overrides=overrides,
        resume=getattr(arguments, "resume", None),
        watch=(lambda run: nullcontext()) if arguments.quiet else api.on_stream,
    )
    if arguments.json:
        return messages.answer_json(result)
    asked = {field.rpartition(".")[2] for field in action.asks}
    return messages.answer("\n".join(messages.result_lines(result, whole=asked)))


def parser(action: Action) -> Parser:
    """The verb's parser. Positionals and overrides come as one list, `words`."""
    names = " ".join(_usage(positional) for positional in _positionals(action))
    made = Parser(
        action.name,
        _described(action),
        usage=f"espalier {action.name} {names} [section.field=value ...] [options]",
        epilog=_fields_help(action),
    )
    made.add_argument("words", nargs="*", metavar="ARGUMENTS", help=argparse.SUPPRESS)
    for flag, field in _flags(action).items():
        is_switch = field.annotation is bool
        words = f"{field.path}: {field.description}" + ("" if is_switch else f" ({field.hint})")
        kind: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if is_switch else {"metavar": "VALUE"}
        made.add_argument(flag, dest=field.path, default=None, help=words.replace("%", "%%"), **kind)
    made.add_argument("--out", metavar="DIR", help="the run's folder; runs/NAME-NNN without it")
    if action.resumable:
        made.add_argument("--resume", metavar="RUN", help="go on with an interrupted run in its own folder")
    made.add_common()
    return made


def _positionals(action: Action) -> tuple[Positional, ...]:
    return (_SPEC, *action.positionals) if action.from_spec else action.positionals


def _usage(positional: Positional) -> str:
    name = f"{positional.name} [{positional.name} ...]" if positional.many else positional.name
    return f"[{name}]" if positional.optional else name


def _described(action: Action) -> str:
    lines = [f"{action.help}.", "", *(f"  {p.name:<10} {p.help}" for p in _positionals(action))]
    return "\n".join(lines)


def _fields_help(action: Action) -> str:
    from espalier.spec.describe import fields

    rows = [field for field in fields(_section(action), f"{action.section}.") if not field.is_section]
    width = max(len(field.path) for field in rows)
    return "\n".join(["fields:", *(f"  {f.path:<{width}}  {f.description} ({f.hint})" for f in rows)])


def _section(action: Action) -> Any:
    from espalier.spec.describe import section_of
    from espalier.spec.sections import Spec

    return section_of(Spec.model_fields[action.section].annotation)


def _flags(action: Action) -> Mapping[str, Any]:
    """Short name → field: the spec's own, the network's where the verb trains one, and those of the verb's section."""
    from espalier.spec.describe import fields
    from espalier.spec.sections import Spec

    sections = {"", action.section, *(["network"] if action.trains else [])}
    return {
        f.flag: f for f in fields(Spec) if f.flag and (f.path.partition(".")[0] if "." in f.path else "") in sections
    }


def _top_names() -> list[str]:
    from espalier.spec.sections import Spec

    return list(Spec.model_fields)


def _flag_values(action: Action, arguments: argparse.Namespace) -> dict[str, Any]:
    """Field → value of the flags that were given; a list is written with commas."""
    from espalier.spec.describe import branches
    from espalier.spec.yaml_text import scalar

    values: dict[str, Any] = {}
    for field in _flags(action).values():
        given = getattr(arguments, field.path)
        if given is None:
            continue
        takes_text = str in branches(field.annotation)
        if field.type.startswith("list"):
            values[field.path] = [part.strip() for part in given.split(",") if part.strip()]
        else:
            values[field.path] = scalar(given) if isinstance(given, str) and not takes_text else given
    return values


def _assigned(
    action: Action, words: Sequence[str], overrides: Sequence[str], *, resumed: bool
) -> tuple[str | None, dict[str, Any]]:
    """The spec file, and field → value of the arguments by position. Raises UsageError for too few or too many."""
    left = list(words)
    spec = left.pop(0) if action.from_spec and left else None
    if action.from_spec and spec is None and not resumed and not _sets(overrides, "network"):
        raise _lacks(action, _SPEC)
    values: dict[str, Any] = {}
    for positional in action.positionals:
        if not left:
            if not positional.optional and not _sets(overrides, positional.field):
                raise _lacks(action, positional)
            continue
        if positional.many:
            values[positional.field], left = _taken(positional, left)
        else:
            values[positional.field] = left.pop(0)
    if left:
        raise UsageError(Problem("", f"unexpected argument '{left[0]}'", fix=_instead(action, left[0])))
    return spec, values


def _taken(positional: Positional, words: list[str]) -> tuple[list[str], list[str]]:
    """(the words of an argument that takes many, the rest)."""
    if not positional.takes:
        return words, []
    module, _, function = positional.takes.partition(":")
    is_own: Callable[[str], bool] = getattr(importlib.import_module(module), function)
    own = {place for place, word in enumerate(words) if place == 0 or is_own(word)}
    return [words[i] for i in sorted(own)], [word for i, word in enumerate(words) if i not in own]


def _instead(action: Action, word: str) -> str:
    """What to write for an argument too many; a field that is set in another way than `section.field=value`."""
    from espalier.spec.describe import field_at
    from espalier.spec.sections import Spec

    name = word.partition("=")[0].partition("[")[0]
    field = field_at(Spec, name) if "." in name else None
    if field is None:
        return f"see: espalier {action.name} --help"
    whole = "; a list is set as a whole: [1,2]" if "[" in word.partition("=")[0] else ""
    return f"a field is set by {name}=VALUE ({field.hint}){whole}"


def _sets(overrides: Sequence[str], field: str) -> bool:
    return any(text.startswith((f"{field}=", f"{field}.")) for text in overrides)


def _lacks(action: Action, positional: Positional) -> UsageError:
    what = f"{action.name} needs {positional.name}: {positional.help}"
    return UsageError(Problem("", what, fix=f"see: espalier {action.name} --help"))
