"""A spec from its file, preset and overrides: merged, checked as a whole, every problem told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError, create_model

from espalier.errors import InputError, Problem, SpecError
from espalier.spec.describe import branches, section_of
from espalier.spec.explain import closest, explain
from espalier.spec.fields import knob
from espalier.spec.migrate import migrate
from espalier.spec.sections import NetworkSpec, Spec
from espalier.spec.source import Origin, Source, from_mapping
from espalier.spec.source import Path as FieldPath
from espalier.spec.yaml_text import MAX_CHARACTERS, parse, parse_value

_T = TypeVar("_T")
_OVERRIDE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)=(.*)\Z", re.DOTALL | re.ASCII)


@dataclass(frozen=True)
class NetworkEntry:
    """What a spec needs to know of a network: the class of its knobs, and its presets (nested spec values by name)."""

    spec_class: type[NetworkSpec]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


Lookup = Callable[[str], NetworkEntry]
"""Network name → entry; raises InputError that names the others. The registry's own, handed in by the actions."""


def load_spec(
    source: str | Path | Mapping[str, Any] | None,
    *,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    positionals: Mapping[str, Any] | None = None,
    lookup: Lookup,
) -> Spec:
    """The spec of a YAML file (a path), YAML text (a string with a line break), or a mapping; None is all defaults.

    Defaults < preset < source < positionals < overrides (`section.field=value`, or a mapping with dotted names).
    Raises SpecError with all problems at once.
    """
    found: list[Problem] = []
    given = _collect(found, lambda: read_source(source)) or Source()
    given = (_collect(found, lambda: from_mapping(positionals or {})) or Source()).over(given)
    given = (_collect(found, lambda: _overrides(overrides, found)) or Source()).over(given)
    spec = _collect(found, lambda: _checked(given, lookup))
    if found or spec is None:
        raise SpecError(*found)
    return spec


def updated(spec: Spec, changes: Mapping[str, Any], *, lookup: Lookup, where: str = "") -> Spec:
    """The spec with other values (nested, or by dotted name), checked as a whole. Raises SpecError."""
    new = from_mapping(changes, where)
    asked = new.values.get("network")
    if isinstance(asked, dict) and isinstance(asked.get("preset"), str):
        raise SpecError(Problem("network.preset", "a preset is chosen when a spec is loaded, not afterwards"))
    return _checked(new.over(from_mapping(values_of(spec))), lookup)


def override_source(text: str) -> Source:
    """One `section.field=value`. Raises SpecError where it isn't one, or its value isn't YAML."""
    match = _OVERRIDE.match(text)
    if match is None:
        fix = "write section.field=value, e.g. train.epochs=3"
        raise SpecError(Problem(f"override '{text[:60]}'", "this is not an override", fix=fix))
    path: FieldPath = tuple(match[1].split("."))
    return parse_value(match[2], path, "override")


@cache
def spec_class(network: type[NetworkSpec]) -> type[Spec]:
    """The Spec whose `network` section is this class."""
    made: type[Spec] = create_model(
        "Spec", __base__=Spec, network=(network, knob(None, "The network and its knobs", factory=network))
    )
    return made


def read_source(source: str | Path | Mapping[str, Any] | None) -> Source:
    """The values as they were written, not yet checked. Raises SpecError for a file that can't be read as YAML."""
    if source is None or isinstance(source, Mapping):
        return _migrated(from_mapping(source or {}))
    if isinstance(source, str) and "\n" in source:
        return _migrated(parse(source, "spec"))
    return _migrated(parse(_text_of(Path(source)), str(source)))


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(4 * MAX_CHARACTERS + 1)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(Problem(str(path), f"not UTF-8 text (byte {error.start})", fix="save it as UTF-8")) from error
    except FileNotFoundError as error:
        fix = "write one with: espalier spec NETWORK > spec.yaml"
        raise SpecError(Problem(str(path), "there is no such spec file", fix=fix)) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise SpecError(Problem(str(path), f"this spec file can't be read: {error}")) from error


def _migrated(source: Source) -> Source:
    place = source.origins.get(("spec_version",), source.origins.get((), Origin("")))
    return Source(migrate(source.values, where=place.where), source.origins)


def _overrides(overrides: Sequence[str] | Mapping[str, Any], found: list[Problem]) -> Source:
    """All of them, later ones over earlier ones; what isn't an override is noted."""
    if isinstance(overrides, Mapping):
        return from_mapping(overrides, "override")
    merged = Source()
    for text in overrides:
        one = _collect(found, lambda text=text: override_source(text))  # type: ignore[misc]
        merged = (one or Source()).over(merged)
    return merged


def _collect(found: list[Problem], step: Callable[[], _T]) -> _T | None:
    """The step's result; its problems are noted instead of raised, so that the next step's are told too."""
    try:
        return step()
    except InputError as error:
        found.extend(error.problems)
        return None


def values_of(spec: Spec) -> dict[str, Any]:
    """The spec as nested JSON data, with every value."""
    return spec.model_dump(mode="json", serialize_as_any=True)


def _checked(source: Source, lookup: Lookup) -> Spec:
    """The spec that the values make, the preset's under them. Raises SpecError with every problem."""
    found: list[Problem] = []
    entry = _collect(found, lambda: _entry(source, lookup))
    if entry is not None:
        base = _collect(found, lambda: _preset(source, entry)) or Source()
        source = source.over(base)
    if found:  # the network's own fields can't be judged, the rest can
        source = Source({k: v for k, v in source.values.items() if k != "network" or entry}, source.origins)
    spec = _collect(found, lambda: _validated(source, spec_class(entry.spec_class) if entry else Spec))
    if found or spec is None:
        raise SpecError(*found)
    return spec


def _validated(source: Source, cls: type[Spec]) -> Spec:
    values = {key: _fitted(value, _annotation(cls, key), (key,), source) for key, value in source.values.items()}
    try:
        return cls.model_validate(values, strict=True)
    except ValidationError as error:
        raise SpecError(*explain(error, cls, source)) from error


def _entry(source: Source, lookup: Lookup) -> NetworkEntry | None:
    """The entry of the network that the values name; None when there is no network section."""
    network = source.values.get("network")
    if not isinstance(network, dict):
        return None
    path: FieldPath = ("network", "name")
    name = _fitted(network.get("name", ""), str, path, source)
    if not isinstance(name, str) or not name:
        raise SpecError(Problem(source.where(path), "the network's name is needed", fix="e.g. network.name=classifier"))
    try:
        return lookup(name)
    except InputError as error:
        raise SpecError(*(Problem(source.where(path), p.what, p.expected, p.fix) for p in error.problems)) from error


def _preset(source: Source, entry: NetworkEntry) -> Source:
    """The values of the preset that is asked for."""
    path: FieldPath = ("network", "preset")
    name = _fitted(source.values["network"].get("preset"), str | None, path, source)
    if name is None:
        return Source()
    if not isinstance(name, str) or name not in entry.presets:
        meant = closest(str(name), entry.presets)
        fix = f"did you mean '{meant}'?" if meant else f"the presets are: {', '.join(entry.presets) or 'none'}"
        raise SpecError(Problem(source.where(path), f"there is no preset '{name}'", fix=fix))
    return from_mapping(entry.presets[name], f"preset {name}")


def _annotation(cls: type[BaseModel], name: str) -> Any:
    field_info = cls.model_fields.get(name)
    return field_info.annotation if field_info else None


def _fitted(value: Any, annotation: Any, path: FieldPath, source: Source) -> Any:
    """The value in the form that strict checking wants: lists as tuples, and bare scalars as text where text is meant.

    A class called 007 or 1.50 in YAML stays exactly that.
    """
    section = section_of(annotation)
    if section is not None and isinstance(value, dict):
        return {k: _fitted(v, _annotation(section, k), (*path, k), source) for k, v in value.items()}
    if isinstance(value, list):
        return _fitted_list(value, annotation, path, source)
    text = source.origins[path].text if path in source.origins else None
    if isinstance(value, str) or text is None or (value is None and NoneType in branches(annotation)):
        return value
    takes_text = any(b is str or (get_origin(b) is Literal and text in get_args(b)) for b in branches(annotation))
    return text if takes_text else value


def _fitted_list(value: list[Any], annotation: Any, path: FieldPath, source: Source) -> Any:
    items = next((get_args(b) for b in branches(annotation) if get_origin(b) is tuple), None)
    if items is None:
        return value
    return tuple(
        _fitted(item, items[min(n, len(items) - 1)] if items[-1] is not Ellipsis else items[0], (*path, n), source)
        for n, item in enumerate(value)
    )
