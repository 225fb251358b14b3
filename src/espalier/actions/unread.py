"""What a user set in the sections of other verbs, and the verb at work never reads."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from espalier.actions import ACTIONS, Action
from espalier.spec.sections import Spec


def warnings(action: Action, spec: Spec) -> Iterator[str]:
    """A line for each other verb whose section holds values that have no effect on this one."""
    for other in ACTIONS:
        if other.section == action.section:
            continue
        fields = [name for name in _changed(getattr(spec, other.section), other.section) if not _reads(action, name)]
        if fields:
            yield f"{', '.join(fields)}: no effect, {action.name} does not read it; espalier {other.name} does"


def _reads(action: Action, field: str) -> bool:
    return any(f"{field}.".startswith(f"{known}.") for known in action.reads)


def _changed(section: BaseModel, path: str) -> Iterator[str]:
    """The dotted fields, however deep, whose value is not their default."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _changed(value, f"{path}.{name}")
        elif value != field.get_default(call_default_factory=True):
            yield f"{path}.{name}"
