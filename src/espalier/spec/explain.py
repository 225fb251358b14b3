"""pydantic's errors in the house's words: where, what is wrong, what was expected, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from espalier.errors import Problem
from espalier.spec.describe import FieldInfo, branches, choices, field_at, fields, section_of, type_words
from espalier.spec.fields import OUT_OF_RANGE
from espalier.spec.sections import NetworkSpec
from espalier.spec.source import Path, Source, dotted
from espalier.spec.yaml_text import written

_OWN_WORDS = frozenset({"value_error", "assertion_error"})
_MISSING = object()


@dataclass(frozen=True)
class _Place:
    """Where pydantic's `loc` leads: the field's path (union branches left out), its section class and annotation."""

    path: Path
    section: type[BaseModel]
    annotation: Any


def explain(error: ValidationError, spec_class: type[BaseModel], source: Source) -> list[Problem]:
    """One problem a field, in the order of the spec; a union's branches are told together."""
    by_path: dict[Path, tuple[_Place, ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        place = _place(spec_class, detail["loc"])
        by_path.setdefault(place.path, (place, detail))
    return [_problem(place, detail, spec_class, source) for place, detail in by_path.values()]


def closest(name: str, among: Iterable[str]) -> str | None:
    """The likeliest word that was meant, or None."""
    matches = difflib.get_close_matches(name.lower(), list(among), n=1, cutoff=0.6)
    return matches[0] if matches else None


def shown(value: Any) -> str:
    """The value as a message quotes it: at most 60 characters."""
    text = f"'{value}'" if isinstance(value, str) else written(value)
    return text if len(text) <= 60 else f"{text[:56]} …{text[-1]}"


def _place(section: type[BaseModel], loc: tuple[int | str, ...]) -> _Place:
    path: list[str | int] = []
    annotation: Any = section
    for part in loc:
        here = section_of(annotation)
        if here is not None and isinstance(part, str):
            section = here
            path.append(part)
            if part not in here.model_fields:
                return _Place(tuple(path), section, None)
            annotation = here.model_fields[part].annotation
        elif isinstance(part, int) and get_origin(annotation) is tuple:
            path.append(part)
            items = get_args(annotation)
            annotation = items[0] if items[-1] is Ellipsis else items[min(part, len(items) - 1)]
        else:
            break  # the rest names a union's branch, or what is wrong inside it
    return _Place(tuple(path), section, annotation)


def _problem(place: _Place, detail: ErrorDetails, spec_class: type[BaseModel], source: Source) -> Problem:
    where = source.where(place.path)
    if detail["type"] == "extra_forbidden":
        return Problem(where, "unknown field", fix=_meant(place, spec_class))
    if detail["type"] in _OWN_WORDS or detail["type"].startswith("espalier."):
        return Problem(where, detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, "))
    value = _value(source.values, place.path)
    if detail["type"] == "missing" and value is _MISSING:  # of a list that is too short, the list is there
        return Problem(where, "this field is needed", expected=_expected(place, spec_class))
    value = detail["input"] if value is _MISSING else value
    if detail["type"] == OUT_OF_RANGE:
        return Problem(where, f"{shown(value)} is out of range", expected=_expected(place, spec_class))
    what = f"{shown(value)} is not {type_words(place.annotation, article=True)}"
    return Problem(where, what, expected=_expected(place, spec_class), fix=_advice(value, place.annotation))


def _expected(place: _Place, spec_class: type[BaseModel]) -> str:
    name = dotted(tuple(part for part in place.path if isinstance(part, str)))
    field = field_at(spec_class, name)
    return f"expected {field.hint}" if field else ""


def _advice(value: Any, annotation: Any) -> str:
    """What to write instead, where it can be guessed."""
    meant = closest(value, map(str, choices(annotation))) if isinstance(value, str) else None
    if meant and meant != "auto":
        return f"did you mean '{meant}'?"
    if isinstance(value, (bool, int, float)) and str in branches(annotation):
        return f"write it in quotes: '{written(value)}'"
    section = section_of(annotation)
    return f"its fields are: {', '.join(section.model_fields)}" if section else ""


def _meant(place: _Place, spec_class: type[BaseModel]) -> str:
    """The field that an unknown one was probably meant to be: a sibling first, then one of that name elsewhere."""
    name, parent = str(place.path[-1]), place.path[:-1]
    sibling = closest(name, place.section.model_fields)
    if sibling:
        field = field_at(spec_class, dotted((*parent, sibling)))
        return _did_you_mean(sibling, field)
    elsewhere = [field for field in fields(spec_class) if field.path.rpartition(".")[2] == name]
    if elsewhere:
        return _did_you_mean(elsewhere[0].path, elsewhere[0])
    listed = ", ".join(place.section.model_fields)
    if place.section is NetworkSpec:
        return f"every network has: {listed}; for a network's own, say which it is, as in network.name=fcos"
    return f"the fields {'here' if parent else 'at the top'} are: {listed}"


def _did_you_mean(name: str, field: FieldInfo | None) -> str:
    return f"did you mean '{name}'?" + (f" ({field.hint})" if field else "")


def _value(values: Any, path: Path) -> Any:
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return values
