"""Reading JSON data into prepare's frozen dataclasses, strictly: a bundle may come from a stranger."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from espalier.errors import ModelError, Problem

T = TypeVar("T")


def plain_record(value: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples as lists, so that the object equals what comes back from a JSON file."""
    return {key: _plain(item) for key, item in value.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_record(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def record(value: Any, where: str, required: Mapping[str, type], optional: Mapping[str, type]) -> dict[str, Any]:
    """The object, if it has all that is required, nothing unknown, and values of these types."""
    if not isinstance(value, dict):
        raise ModelError(Problem(where, f"a {type(value).__name__} where an object was expected"))
    _check_keys(value, where, set(required), set(optional))
    for key, kind in {**required, **optional}.items():
        if key in value and (not isinstance(value[key], kind) or isinstance(value[key], bool)):
            raise ModelError(Problem(f"{where}.{key}", f"{value[key]!r:.60} is no {kind.__name__}"))
    return value


def items(value: Any, where: str, key: str) -> list[Any]:
    """The list that the object holds under `key`; empty when it holds none."""
    found = value.get(key, []) if isinstance(value, dict) else []
    if not isinstance(found, list):
        raise ModelError(Problem(f"{where}.{key}", f"{found!r:.60} is no list"))
    return found


def build(kind: type[T], value: Any, where: str, **given: Any) -> T:
    """The dataclass `kind` from a JSON object, each field checked by its annotation; `given` fields are taken as they
    are. Raises ModelError."""
    if not isinstance(value, dict):
        raise ModelError(Problem(where, f"a {type(value).__name__} where an object was expected"))
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    required = {name for name, f in fields.items() if f.default is dataclasses.MISSING}
    _check_keys(value, where, required, set(fields) - required)
    hints = get_type_hints(kind)
    values = {key: _typed(item, hints[key], f"{where}.{key}") for key, item in value.items() if key not in given}
    try:
        return kind(**values, **given)
    except ModelError as error:
        raise ModelError(*(Problem(where, p.what, p.expected, p.fix) for p in error.problems)) from error


def _check_keys(value: dict[str, Any], where: str, required: set[str], optional: set[str]) -> None:
    unknown = sorted(set(value) - required - optional)
    missing = sorted(required - set(value))
    problems = [Problem(where, f"unknown field '{key:.60}'", fix="update Espalier") for key in unknown]
    problems += [Problem(where, f"the field '{key}' is missing") for key in missing]
    if problems:
        raise ModelError(*problems[:20])


def _typed(value: Any, hint: Any, where: str) -> Any:
    """The value, if it is what the annotation says: int, float, str, a Literal, or a tuple of these."""
    kinds = get_args(hint)
    if get_origin(hint) is tuple and isinstance(value, list):
        if kinds[-1] is Ellipsis:
            return tuple(_typed(item, kinds[0], where) for item in value[:4097])
        if len(value) == len(kinds):
            return tuple(_typed(item, kind, where) for item, kind in zip(value, kinds, strict=True))
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    elif hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    elif (hint is str or get_origin(hint) is Literal) and isinstance(value, str):
        return value  # the dataclass itself says which words it knows
    raise ModelError(Problem(where, f"{value!r:.60} is not what belongs here"))
