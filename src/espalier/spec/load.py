"""A spec from its file, preset and overrides: merged, checked as a whole, every problem told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError, create_model

from espalier import storage
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
    network_needed: bool = False,
) -> Spec:
    """The spec of a YAML file (a path), YAML text (a string with a line break), or a mapping; None is all defaults.

    Defaults < preset < source < positionals < overrides (`section.field=value`, or a mapping with dotted names). A
    preset that an override names is a later wish than the file, so it stands over the file and under the overrides.
    Raises SpecError with all problems at once; with `network_needed` also when no network is named.
    """
    found: list[Problem] = []
    written = _collect(found, lambda: read_source(source))
    wishes = [
        _collect(found, lambda: from_mapping(positionals or {})) or Source(),
        _collect(found, lambda: _overrides(overrides, found)) or Source(),
    ]
    if written is None:  # which network the file names is not known: what is said of it can't be judged
        spec = _collect(found, lambda: _checked([_without_network(wish) for wish in wishes], lookup))
    else:
        spec = _collect(found, lambda: _checked([written, *wishes], lookup, network_needed))
    if found or spec is None:
        raise SpecError(*found)
    return spec


def updated(spec: Spec, changes: Mapping[str, Any], *, lookup: Lookup, where: str = "") -> Spec:
    """The spec with other values (nested, or by dotted name), checked as a whole. Raises SpecError."""
    return _checked([from_mapping(values_of(spec)), from_mapping(changes, where)], lookup)


def with_network(spec: Spec, name: str, *, preset: str | None, lookup: Lookup) -> Spec:
    """The spec with a network (and its preset's values) under what the user set: how `fit` makes its choice.

    Raises SpecError, as when the user set a field that the network does not have.
    """
    wishes = spec.model_dump(mode="json", exclude_unset=True, serialize_as_any=True)
    chosen = {"network": {"name": name, "preset": preset}}
    return _checked([from_mapping(chosen), from_mapping(wishes)], lookup)


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
    return _migrated(parse(_text_of(str(source)), str(source)))


def _text_of(path: str) -> str:
    if "\0" in path or not storage.exists(path):
        fix = "write one with: espalier spec NETWORK > spec.yaml"
        raise SpecError(Problem(path.replace("\0", "\\0"), "there is no such spec file", fix=fix))
    try:
        return storage.read_bytes(path, limit=4 * MAX_CHARACTERS).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(Problem(path, f"not UTF-8 text (byte {error.start})", fix="save it as UTF-8")) from error


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


def _checked(sources: Sequence[Source], lookup: Lookup, network_needed: bool = False) -> Spec:
    """The spec that the values make, later sources over earlier ones. Raises SpecError with every problem."""
    found: list[Problem] = []
    given = _stacked(sources)
    entry = _collect(found, lambda: _entry(given, lookup, network_needed))
    preset = _collect(found, lambda: _preset(given, entry)) if entry else None
    if preset:
        level = max(n for n, source in enumerate(sources) if "preset" in _network(source))
        given = _stacked([*sources[:level], preset, *sources[level:]])
    if found and entry is None:  # the network's own fields can't be judged, the rest can
        given = _without_network(given)
    spec = _collect(found, lambda: _validated(given, spec_class(entry.spec_class) if entry else Spec))
    if found or spec is None:
        raise SpecError(*found)
    return spec


def _stacked(sources: Sequence[Source]) -> Source:
    return reduce(lambda low, high: high.over(low), sources, Source())


def _without_network(source: Source) -> Source:
    return Source({key: value for key, value in source.values.items() if key != "network"}, source.origins)


def _network(source: Source) -> dict[str, Any]:
    network = source.values.get("network")
    return network if isinstance(network, dict) else {}


def _validated(source: Source, cls: type[Spec]) -> Spec:
    values = {key: _fitted(value, _annotation(cls, key), (key,), source) for key, value in source.values.items()}
    try:
        return cls.model_validate(values, strict=True)
    except ValidationError as error:
        raise SpecError(*explain(error, cls, source)) from error


def _entry(source: Source, lookup: Lookup, needed: bool) -> NetworkEntry | None:
    """The entry of the network that the values name; without a name only the fields that every network has."""
    path: FieldPath = ("network", "name")
    name = _fitted(_network(source).get("name", ""), str, path, source)
    if name == "" and needed:
        fix = "name one: network.name=classifier, or 'network:' and below it '  name: classifier' in the spec"
        raise SpecError(Problem(source.where(path), "the network's name is needed", fix=fix))
    if not isinstance(name, str) or name == "":
        return NetworkEntry(NetworkSpec) if _network(source) else None
    try:
        return lookup(name)
    except InputError as error:
        raise SpecError(*(Problem(source.where(path), p.what, p.expected, p.fix) for p in error.problems)) from error


def _preset(source: Source, entry: NetworkEntry) -> Source | None:
    """The values of the preset that is asked for, or None."""
    path: FieldPath = ("network", "preset")
    name = _fitted(_network(source).get("preset"), str | None, path, source)
    if name is None:
        return None
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
