"""Every `auto` of a spec filled in, each with its reason; what the user wrote is never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from espalier.errors import Problem, SpecError
from espalier.spec.effects import idle_fields, value_at
from espalier.spec.facts import Facts, Hardware, InputFacts
from espalier.spec.load import spec_class, values_of
from espalier.spec.rules import RULES, Caution, Rule, Wish
from espalier.spec.sections import Spec
from espalier.spec.yaml_text import written

__all__ = ["Decision", "Facts", "Hardware", "InputFacts", "resolve", "spec_hash"]


@dataclass(frozen=True)
class Decision:
    """What was chosen for a field and why: `batch_size: auto → 8 (largest that fits 22 GB)`.

    A decision of kind 'warning' changes nothing: it says that a field the user set has no effect, or a bad one.
    """

    field: str
    asked: Any
    chosen: Any
    reason: str
    kind: Literal["choice", "warning"] = "choice"

    def __str__(self) -> str:
        if self.kind == "warning":
            return f"{self.field}: {_brief(self.asked)}: {self.reason}"
        return f"{self.field}: {_brief(self.asked)} → {_brief(self.chosen)} ({self.reason})"


def resolve(spec: Spec, facts: Facts) -> tuple[Spec, tuple[Decision, ...]]:
    """The spec without `auto` in data, train and network, and the decisions taken.

    A field whose fact is not known yet stays `auto`, so resolving again with more facts goes on from there.
    Raises SpecError for a wish that this machine or data cannot meet, all of them at once.
    """
    _refuse_impossible(spec, facts)
    resolved, decisions = spec, []
    for path, rule in _rules(spec).items():
        asked = rule.word if isinstance(rule, Wish) else "auto"
        if value_at(resolved, path) != asked:
            continue
        value, reason = rule(resolved, facts)
        if value != asked:
            resolved = _with(resolved, path.split("."), value)
            decisions.append(Decision(path, asked, value, reason))
    warnings = [
        Decision(field, value, value, f"has no effect: {because}", "warning")
        for field, value, because in idle_fields(spec, resolved)
    ]
    cautions = _cautions(resolved, facts)
    return _checked(resolved), (*decisions, *warnings, *cautions)


def spec_hash(spec: Spec) -> str:
    """16 hexadecimal digits that two specs share only when every value but the name is the same."""
    values = {key: value for key, value in values_of(spec).items() if key != "name"}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _rules(spec: Spec) -> Mapping[str, Rule]:
    """The common rules, and the network's own after them or in their place."""
    own = type(spec.network).rules if spec.network else {}
    return {
        **RULES,
        **{name if "." in name and name in RULES else f"network.{name}": rule for name, rule in own.items()},
    }


def _with(section: Any, path: list[str], value: Any) -> Any:
    """A copy of the section with one value, however deep, replaced."""
    name, rest = path[0], path[1:]
    new = _with(getattr(section, name), rest, value) if rest else value
    return section.model_copy(update={name: new})


def _checked(spec: Spec) -> Spec:
    """The same spec, through all checks once more: a rule may not choose what a user may not write."""
    cls: type[BaseModel] = spec_class(type(spec.network)) if spec.network else type(spec)
    checked = cls.model_validate(values_of(spec))
    assert isinstance(checked, Spec)
    return checked


def _cautions(spec: Spec, facts: Facts) -> list[Decision]:
    """What the network's own checks say of the spec. Raises SpecError for what can't work."""
    found = [each for check in type(spec.network).checks for each in check(spec, facts)] if spec.network else []
    problems = [each for each in found if isinstance(each, Problem)]
    if problems:
        raise SpecError(*problems)
    return [
        Decision(each.field, each.value, each.value, each.reason, "warning")
        for each in found
        if isinstance(each, Caution)
    ]


def _refuse_impossible(spec: Spec, facts: Facts) -> None:
    """Wishes that can't be met here."""
    found, machine = [], facts.hardware
    device = spec.train.device
    if device != "auto" and machine.available and device not in machine.available:
        what = f"{device} was asked for and this machine has {', '.join(machine.available)}"
        found.append(Problem("train.device", what, fix="leave it at auto, or install a PyTorch built for the device"))
    if isinstance(spec.train.devices, int) and machine.world_size not in (None, spec.train.devices):
        what = f"{spec.train.devices} were asked for and torchrun started {machine.world_size}"
        found.append(Problem("train.devices", what, fix="leave it at auto"))
    found.extend(_band_problems(spec))
    found.extend(_size_problems(spec, facts))
    if found:
        raise SpecError(*found)


def _band_problems(spec: Spec) -> list[Problem]:
    """Channels, bands, mean and std must speak of the same number."""
    if spec.network is None:
        return []
    given = spec.network.input
    named = {"rgb": 3, "grey": 1, "rgba": 4}.get(given.channels)
    count = given.bands if isinstance(given.bands, int) else named
    found = []
    if named is not None and count != named:
        found.append(Problem("network.input.bands", f"{given.channels} has {named} bands, not {count}"))
    for name, values in (("mean", given.mean), ("std", given.std)):
        if isinstance(values, tuple) and count is not None and len(values) != count:
            found.append(Problem(f"network.input.{name}", f"{len(values)} values for {count} bands"))
    return found


def _size_problems(spec: Spec, facts: Facts) -> list[Problem]:
    """The input must not be smaller than the backbone takes."""
    size_hw = spec.network.input.size_hw if spec.network else "auto"
    if facts.backbone is None or isinstance(size_hw, str) or min(size_hw) >= facts.backbone.smallest_px:
        return []
    what = f"the input is {size_hw[0]} x {size_hw[1]} px"
    expected = f"{facts.backbone.name} takes {facts.backbone.smallest_px} px or more a side"
    return [Problem("network.input.size_hw", what, expected)]


def _brief(value: Any) -> str:
    """The value in a printed line; a long list is cut."""
    if isinstance(value, (list, tuple)) and len(value) > 6:
        return f"{written(list(value[:5]))[:-1]}, … {len(value)} in all]"
    return written(list(value) if isinstance(value, tuple) else value)
