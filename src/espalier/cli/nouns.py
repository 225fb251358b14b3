"""The noun groups on the command line (`espalier data check …`), made from their tables of commands."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from typing import Any

from espalier.actions import extras
from espalier.cli import messages
from espalier.cli.arguments import Parser
from espalier.cli.top import GROUPS
from espalier.commands import Argument, Command, Reply
from espalier.errors import Problem, UsageError


def run(group: str, given: list[str]) -> int:
    """Runs `espalier GROUP COMMAND …` and prints its reply."""
    commands = {command.name: command for command in table(group)}
    switches = [word for word in given if word.startswith("-")]
    name = next((word for word in given if not word.startswith("-")), None)
    if name is None:
        messages.answer(_help(group, list(commands.values())))
        return 0 if set(switches) & {"-h", "--help"} else 2
    if name not in commands:
        raise _unknown(group, name, list(commands))
    position = given.index(name)
    return _run_command(group, commands[name], [*given[:position], *given[position + 1 :]])


def table(group: str) -> tuple[Command, ...]:
    """The commands of a group."""
    module, _, attribute = GROUPS[group].table.partition(":")
    commands: tuple[Command, ...] = getattr(importlib.import_module(module), attribute)
    return commands


def parser(group: str, command: Command) -> Parser:
    """The command's parser."""
    made = Parser(f"{group} {command.name}", f"{command.help}.")
    for argument in command.arguments:
        _add(made, argument)
    made.add_common()
    return made


def _run_command(group: str, command: Command, given: list[str]) -> int:
    arguments = parser(group, command).read(given)
    needed_for = f"espalier {group} {command.name}"
    extras.require(command.extra, needed_for)
    values = {a.key: _value(a, getattr(arguments, a.key), needed_for) for a in command.arguments}
    module, _, function = command.run.partition(":")
    with extras.named(needed_for):
        reply: Reply = getattr(importlib.import_module(module), function)(**values)
    if arguments.json:
        messages.answer_json(reply.data)
    elif reply.lines:
        messages.answer("\n".join(reply.lines))
    return reply.exit_code


def _add(made: Parser, argument: Argument) -> None:
    """One argument of the table, in argparse's words."""
    options: dict[str, Any] = {"help": argument.help.replace("%", "%%")}
    if argument.kind == "switch":
        made.add_argument(argument.name, dest=argument.key, action="store_true", **options)
        return
    options |= {"type": {"integer": int, "number": float}.get(argument.kind), "choices": argument.choices or None}
    if argument.is_flag:
        options |= {"dest": argument.key, "required": argument.is_required}
        options |= {"metavar": None if argument.choices else argument.key.upper()}
    if argument.many:
        options |= {"nargs": "+" if argument.is_required or argument.is_flag else "*", "default": ()}
    else:
        options |= {"default": argument.default}
        options |= {} if argument.is_flag or argument.is_required else {"nargs": "?"}
    name = argument.name if argument.is_flag else argument.key
    if not argument.is_flag:
        options |= {"metavar": argument.name}
    made.add_argument(name, **{key: value for key, value in options.items() if value is not None or key == "default"})


def _value(argument: Argument, value: Any, command: str) -> Any:
    """The value in the form that the function wants."""
    if argument.kind == "yaml" and isinstance(value, str):
        from espalier.spec.yaml_text import parse_value

        return parse_value(value, (argument.key,), command).values[argument.key]
    return tuple(value) if argument.many else value


def _help(group: str, commands: Sequence[Command]) -> str:
    rows = [f"  {command.name:<12} {command.help}" for command in commands]
    return "\n".join([f"usage: espalier {group} COMMAND ...", "", f"{GROUPS[group].help}:", *rows])


def _unknown(group: str, name: str, known: Sequence[str]) -> UsageError:
    close = difflib.get_close_matches(name, known, n=1)
    fix = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(known)}"
    return UsageError(Problem("", f"there is no command '{group} {name}'", fix=fix))
