"""The fields of a spec class as plain facts: what the CLI, the schema, the docs, errors and searches say of them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo as PydanticField
from pydantic_core import PydanticUndefined

from espalier.spec.fields import Tunable, extras
from espalier.spec.yaml_text import written

_NOUNS: Mapping[Any, str] = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null"}
_ARTICLES: Mapping[str, str] = {"integer": "an", "number": "a", "list": "a", "mapping": "a", "section": "a"}


@dataclass(frozen=True)
class FieldInfo:
    """One field of a spec. `type` and `range` are words; `default` is plain data, None for a section."""

    path: str  # dotted, from the top of the spec
    type: str
    unit: str
    range: str
    default: Any
    description: str
    tunable: Tunable | None
    flag: str
    annotation: Any
    is_section: bool

    @property
    def hint(self) -> str:
        """`integer or auto, 1-100000 epochs, default auto`."""
        if self.is_section:
            return "a section"
        span = " ".join(part for part in (self.range, self.unit) if part)
        return ", ".join(part for part in (self.type, span, f"default {written(self.default)}") if part)


def fields(spec_class: type[BaseModel], prefix: str = "") -> list[FieldInfo]:
    """Every field, sections before what is in them, in the order they are declared."""
    found: list[FieldInfo] = []
    for name, field in spec_class.model_fields.items():
        path = f"{prefix}{name}"
        found.append(_info(path, field))
        section = section_of(field.annotation)
        if section:
            found.extend(fields(section, f"{path}."))
    return found


def tunable_fields(spec_class: type[BaseModel]) -> list[FieldInfo]:
    """The fields that a search may try."""
    return [field for field in fields(spec_class) if field.tunable]


def field_at(spec_class: type[BaseModel], path: str) -> FieldInfo | None:
    """The field of that dotted name, or None."""
    return next((field for field in fields(spec_class) if field.path == path), None)


def flags(section: type[BaseModel], prefix: str) -> dict[str, FieldInfo]:
    """The short names that a section's own fields declare: `--minutes` → train.minutes."""
    return {field.flag: field for field in fields(section, f"{prefix}.") if field.flag}


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The model class that the annotation holds, directly or beside None."""
    for choice in branches(annotation):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            return choice
    return None


def branches(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, else the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def choices(annotation: Any) -> tuple[Any, ...]:
    """The values of the closed lists in an annotation."""
    return tuple(v for branch in branches(annotation) if get_origin(branch) is Literal for v in get_args(branch))


def type_words(annotation: Any, *, article: bool = False) -> str:
    """`integer or auto`, `list of texts`, `one of a, b`; with `article`, as it follows "is not"."""
    values = choices(annotation)
    nouns = [_noun(b) for b in branches(annotation) if get_origin(b) is not Literal]
    if article:
        nouns = [f"{_ARTICLES[noun.split()[0]]} {noun}" if noun.split()[0] in _ARTICLES else noun for noun in nouns]
    if len(values) == 1:
        nouns.append(written(values[0]))
    elif values:
        nouns.append("one of " + ", ".join(map(written, values)))
    return " or ".join(nouns)


def _noun(annotation: Any) -> str:
    if annotation in _NOUNS:
        return _NOUNS[annotation]
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin is tuple and arguments[-1:] == (Ellipsis,):
        return f"list of {_plural(arguments[0])}"
    if origin is tuple:
        return f"list of {len(arguments)} {_plural(arguments[0])}"
    if origin in (dict, Mapping):
        return "mapping"
    return "section" if section_of(annotation) else "value"


def _plural(annotation: Any) -> str:
    noun = type_words(annotation)
    return f"{noun}s" if noun in ("integer", "number", "text", "section", "mapping") else f"items, each {noun}"


def range_words(bounds: Mapping[str, float]) -> str:
    """`1-100000`, `at least 1`, `above 0, at most 1`."""
    if "ge" in bounds and bounds.get("le") == bounds["ge"]:
        return f"{bounds['ge']:.12g}"
    if "ge" in bounds and "le" in bounds:
        return f"{bounds['ge']:.12g}-{bounds['le']:.12g}"
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    return ", ".join(f"{word} {bounds[key]:.12g}" for key, word in words.items() if key in bounds)


def plain(value: Any) -> Any:
    """The value as JSON data: models become mappings, tuples lists."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _info(path: str, field: PydanticField) -> FieldInfo:
    extra = extras(field)
    is_section = section_of(field.annotation) is not None
    default = None if is_section or field.default is PydanticUndefined else plain(field.default)
    if field.default_factory and not is_section:
        default = plain(field.get_default(call_default_factory=True, validated_data={}))
    return FieldInfo(
        path=path,
        type=type_words(field.annotation),
        unit=extra.get("unit", ""),
        range=range_words(extra.get("bounds", {})),
        default=default,
        description=field.description or "",
        tunable=Tunable(**extra["tunable"]) if "tunable" in extra else None,
        flag=extra.get("flag", ""),
        annotation=field.annotation,
        is_section=is_section,
    )
