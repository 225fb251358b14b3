#!/usr/bin/env python
"""Writes docs/reference/ from the code: verbs, spec fields, errors, report blocks, the Python API, networks.

    python scripts/docs_reference.py [FOLDER]

The pages are not kept in git: what the code says is what the docs say.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml

import espalier
from espalier import blocks, errors
from espalier.actions import ACTIONS, Action
from espalier.cli.top import GROUPS, PRINTED
from espalier.commands import Argument, Command
from espalier.networks import registry
from espalier.networks.card import Network
from espalier.spec.describe import FieldInfo, fields
from espalier.spec.fields import Tunable
from espalier.spec.load import spec_class
from espalier.spec.sections import Spec

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
_MADE = "<!-- Made by scripts/docs_reference.py; change the code instead. -->\n"


def pages() -> dict[str, str]:
    """File name → its text."""
    made = {
        "index.md": _index(),
        "verbs.md": _verbs(),
        "spec.md": _spec(),
        "networks.md": _networks(),
        "python.md": _python(),
        "blocks.md": _blocks(),
        "errors.md": _errors(),
    }
    return {name: f"{_MADE}{text.rstrip()}\n" for name, text in made.items()}


def _index() -> str:
    return """# Reference

Made from the code, so it says what this version does.

| page | what is in it |
| --- | --- |
| [Verbs](verbs.md) | every command, its arguments and fields |
| [Spec](spec.md) | every field of a spec: type, range, default, what a search may try |
| [Networks](networks.md) | the networks and their presets |
| [Python](python.md) | `import espalier` |
| [Report blocks](blocks.md) | what an action can show on a page |
| [Errors](errors.md) | every error and its exit code |
"""


# ---- verbs -------------------------------------------------------------------------------------------------------


def _verbs() -> str:
    parts = [
        "# Verbs\n\nEvery verb takes `section.field=value` after its arguments, and `--out DIR`, `--json`, `--quiet`, "
        "`--debug`. `espalier VERB --help` says the same in the terminal.",
        *map(_verb, ACTIONS),
        *(_group(name) for name in GROUPS),
        "## Printed\n\n" + _table(("command", "what it does"), [(f"`espalier {n}`", h) for n, h in PRINTED.items()]),
    ]
    return "\n\n".join(parts)


def _verb(action: Action) -> str:
    names = " ".join(f"[{p.name}]" if p.optional else f"{p.name} …" if p.many else p.name for p in action.positionals)
    words = f"espalier {action.name} {'SPEC ' if action.from_spec else ''}{names}".strip()
    notes = [
        f"{action.help}.",
        f"Needs `pip install 'espalier-vision[{action.extra}]'`." if action.extra else "Runs without PyTorch.",
        "" if action.writes_run else "Writes a run folder only with `--out`.",
        "Can go on with an interrupted run: `--resume RUN`." if action.resumable else "",
    ]
    arguments = [(f"`{p.name}`", p.help, f"`{p.field}`") for p in action.positionals]
    told = _table(("argument", "what it is", "field"), arguments) if arguments else ""
    section = [f for f in fields(Spec) if f.path.startswith(f"{action.section}.") and not f.is_section]
    return "\n\n".join(
        filter(
            None, [f"## {action.name}", f"```text\n{words}\n```", " ".join(filter(None, notes)), told, _fields(section)]
        )
    )


def _group(name: str) -> str:
    module, _, attribute = GROUPS[name].table.partition(":")
    commands: Sequence[Command] = getattr(importlib.import_module(module), attribute)
    return "\n\n".join([f"## {name}", f"{GROUPS[name].help}.", *(_command(name, command) for command in commands)])


def _command(group: str, command: Command) -> str:
    words = " ".join(_usage(a) for a in command.arguments)
    extra = f" Needs the extra `{command.extra}`." if command.extra else ""
    rows = [(f"`{a.name}`", a.help) for a in command.arguments]
    told = _table(("argument", "what it is"), rows) if rows else ""
    head = f"### {group} {command.name}\n\n```text\nespalier {group} {command.name} {words}".rstrip()
    return "\n\n".join(filter(None, [f"{head}\n```", f"{command.help}.{extra}", told]))


def _usage(argument: Argument) -> str:
    name = argument.name
    if argument.is_flag and argument.kind != "switch":
        name += f" {argument.key.upper()}"
    name += " …" if argument.many else ""
    return name if argument.is_required else f"[{name}]"


# ---- spec --------------------------------------------------------------------------------------------------------


def _spec() -> str:
    found = fields(Spec)
    top = [f for f in found if "." not in f.path and not f.is_section]
    sections: dict[str, list[FieldInfo]] = {}
    for field in found:
        if "." in field.path and not field.is_section:
            sections.setdefault(field.path.rsplit(".", 1)[0], []).append(field)
    heads = {f.path: f.description for f in found if f.is_section}
    parts = [
        "# Spec\n\nA spec describes one experiment. `auto` is filled in before the work starts; what was chosen and "
        "why is printed and kept in `run.json`. `espalier spec NETWORK` writes a full one with comments, "
        "`espalier schema NETWORK` its JSON Schema.",
        "## At the top",
        _fields(top),
    ]
    for name, inside in sections.items():
        parts += [f"## {name}", f"{heads.get(name, '')}.".lstrip("."), _fields(inside)]
    return "\n\n".join(filter(None, parts))


def _fields(found: Iterable[FieldInfo]) -> str:
    rows = [(f"`{f.path}`", f.description + _also(f), f"{f.hint}") for f in found]
    return _table(("field", "what it does", "values"), rows)


def _also(field: FieldInfo) -> str:
    parts = [f"`{field.flag}`" if field.flag else "", _tunable(field.tunable) if field.tunable else ""]
    told = "; ".join(filter(None, parts))
    return f" ({told})" if told else ""


def _tunable(found: Tunable) -> str:
    if found.choices:
        return f"a search tries {', '.join(map(str, found.choices))}"
    return f"a search tries {found.low:g} to {found.high:g}" + (", by factors" if found.scale == "log" else "")


# ---- networks ----------------------------------------------------------------------------------------------------


def _networks() -> str:
    parts = ["# Networks\n\nEach network has a spec of its own, the section `network`, on top of the common fields."]
    return "\n\n".join([*parts, *(_network(registry.get(name)) for name in registry.names())])


def _network(card: Network) -> str:
    own = [f for f in fields(spec_class(card.spec)) if f.path.startswith("network.") and not f.is_section]
    common = {f.path for f in fields(Spec)}
    return "\n\n".join(
        [
            f"## {card.name}",
            f"{card.summary.rstrip('.')}. Task: {_tasks(card)}. Licence: {card.licence}. Source: {card.source}",
            _fields(f for f in own if f.path not in common),
            *(_preset(name, values) for name, values in card.presets.items()),
        ]
    )


def _tasks(card: Network) -> str:
    return ", ".join([card.task, *(f"with `{knob}: true` {task}" for knob, task in card.switches.items())])


def _preset(name: str, values: Mapping[str, Any]) -> str:
    return f"### preset {name}\n\n```yaml\n{yaml.safe_dump(dict(values), sort_keys=False, default_flow_style=None)}```"


# ---- python, blocks, errors --------------------------------------------------------------------------------------


def _python() -> str:
    parts = [
        "# Python\n\n`import espalier` loads nothing else; PyTorch is imported when a function that trains is called. "
        "The verbs return JSON data and raise [the errors of this house](errors.md)."
    ]
    for name in espalier.__all__:
        if name.startswith("__"):
            parts.append(f"## espalier.{name}\n\nThe version, such as `{getattr(espalier, name)}`.")
        else:
            parts.append(_function(f"espalier.{name}", getattr(espalier, name)))
    loaded = importlib.import_module("espalier.runtime.model").LoadedModel
    parts += ["## What `espalier.load` gives", inspect.getdoc(loaded) or "", *_members(loaded)]
    return "\n\n".join(parts)


def _members(cls: type[Any]) -> Iterable[str]:
    for name, member in vars(cls).items():
        if not name.startswith("_") and callable(member):
            yield _function(f"model.{name}", member, level=3)
        elif isinstance(member, property):
            yield f"### model.{name}\n\n{inspect.getdoc(member) or ''}"


def _function(name: str, function: Any, *, level: int = 2) -> str:
    signature = re.sub(r"<class '([^']+)'>", r"\1", str(inspect.signature(function))).replace("'", "")
    return f"{'#' * level} {name}\n\n```python\n{name}{signature}\n```\n\n{inspect.getdoc(function) or ''}"


def _blocks() -> str:
    parts = [
        "# Report blocks\n\nAn action or a task describes what it found in these words; the report draws them. "
        "`run.block(section, block)` adds one. They are plain data, so a program can read them in `events.jsonl`."
    ]
    for cls in (*get_args(blocks.Block), blocks.Figure, blocks.Series, blocks.Picture):
        rows = [(f"`{f.name}`", _type_words(f.type), _default(f)) for f in dataclasses.fields(cls)]
        parts.append(f"## {cls.__name__}\n\n{inspect.getdoc(cls)}\n\n{_table(('field', 'type', 'default'), rows)}")
    return "\n\n".join(parts)


def _type_words(annotation: Any) -> str:
    return f"`{annotation}`" if isinstance(annotation, str) else f"`{inspect.formatannotation(annotation)}`"


def _default(field: dataclasses.Field[Any]) -> str:
    return "" if field.default is dataclasses.MISSING else f"`{field.default!r}`"


def _errors() -> str:
    rows = [
        (f"`{cls.__name__}`", str(cls.exit_code), inspect.getdoc(cls) or "", f"`{cls.__bases__[0].__name__}`")
        for cls in error_classes()
    ]
    return (
        "# Errors\n\nAn error says where, what, what was expected and what to do, all problems at once. There is no "
        "traceback unless `--debug`. In Python they are classes in `espalier.errors`, each with `problems` and "
        "`exit_code`.\n\n" + _table(("error", "exit code", "when", "is a"), rows) + "\n\nExit code 0 means done."
    )


def error_classes() -> list[type[errors.EspalierError]]:
    """Every exception that users can meet, in the order of the module."""
    found = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.EspalierError)]
    return sorted(found, key=lambda c: inspect.getsourcelines(c)[1])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *lines])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Writes the pages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"docs: {folder}")


if __name__ == "__main__":
    main()
