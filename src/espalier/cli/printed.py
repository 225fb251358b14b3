"""`espalier spec NETWORK` and `espalier schema NETWORK [ACTION]`: what they print comes from the field definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from espalier.actions import ACTIONS, get
from espalier.cli import messages
from espalier.cli.arguments import Parser
from espalier.cli.top import PRINTED
from espalier.errors import Problem, UsageError


def run(name: str, given: list[str]) -> int:
    """Prints the spec or the schema."""
    return _COMMANDS[name](given)


def _spec(given: list[str]) -> int:
    from espalier.networks.registry import entry
    from espalier.spec.dump import to_yaml
    from espalier.spec.load import load_spec, values_of

    made = Parser("spec", f"{PRINTED['spec']}.", usage="espalier spec NETWORK [--preset P] [section.field=value ...]")
    made.add_argument("network", metavar="NETWORK", help="the network's name")
    made.add_argument("overrides", nargs="*", metavar="section.field=value", help="other values than the defaults")
    made.add_argument("--preset", metavar="P", help="start from a named set of values")
    made.add_common()
    arguments = made.read(given)
    chosen = {"network.name": arguments.network, "network.preset": arguments.preset}
    spec = load_spec(None, positionals=chosen, overrides=arguments.overrides, lookup=entry, network_needed=True)
    if arguments.json:
        return messages.answer_json(values_of(spec))
    return messages.answer(_heading(arguments.network) + to_yaml(spec, comments=True).rstrip())


def _schema(given: list[str]) -> int:
    from espalier.networks.registry import entry
    from espalier.spec.load import spec_class
    from espalier.spec.schema import json_schema

    made = Parser("schema", f"{PRINTED['schema']}.")
    made.add_argument("network", metavar="NETWORK", help="the network's name")
    made.add_argument("action", metavar="ACTION", nargs="?", help="only the section of this verb")
    made.add_common()
    arguments = made.read(given)
    cls = spec_class(entry(arguments.network).spec_class)
    return messages.answer_json(json_schema(cls, _section(arguments.action)))


def _section(verb: str | None) -> str | None:
    if verb is None:
        return None
    action = get(verb)
    if action is None:
        verbs = ", ".join(action.name for action in ACTIONS)
        raise UsageError(Problem("", f"there is no verb '{verb}'", fix=f"the verbs are: {verbs}"))
    return action.section


def _heading(network: str) -> str:
    return f"# The full default spec of {network}. A line left out keeps its default; auto is filled in and told.\n"


_COMMANDS: Mapping[str, Callable[[list[str]], int]] = {"spec": _spec, "schema": _schema}
