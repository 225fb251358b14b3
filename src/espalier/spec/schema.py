"""The JSON Schema of a spec: types, ranges, units, words and what a search may try, from the one field definition."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from espalier.errors import InputError
from espalier.spec.describe import FieldInfo, fields, section_of, tunable_fields

__all__ = ["FieldInfo", "fields", "json_schema", "tunable_fields"]

_KEYWORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def json_schema(spec_class: type[BaseModel], section: str | None = None) -> dict[str, Any]:
    """The schema (draft 2020-12) of a whole spec, or of one of its sections. Bounds stand where the numbers are.

    `unit`, `tunable` and `flag` are keywords of our own. Raises InputError for a section that isn't there.
    """
    if section is not None:
        field = spec_class.model_fields.get(section)
        chosen = section_of(field.annotation) if field else None
        if chosen is None:
            sections = [name for name, f in spec_class.model_fields.items() if section_of(f.annotation)]
            raise InputError(f"a spec has no section '{section}'; its sections are: {', '.join(sections)}")
        spec_class = chosen
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **spec_class.model_json_schema()}
    _place_bounds(schema)
    return schema


def _place_bounds(node: Any) -> None:
    """Turns each `bounds` into JSON Schema's own keywords on the numeric parts beside or below it."""
    if isinstance(node, list):
        for item in node:
            _place_bounds(item)
    if not isinstance(node, dict):
        return
    bounds = node.get("bounds")
    if isinstance(bounds, dict) and bounds.keys() <= _KEYWORDS.keys():
        keywords = {_KEYWORDS[name]: limit for name, limit in node.pop("bounds").items()}
        for numeric in _numeric_parts(node):
            numeric.update(keywords)
    for item in node.values():
        _place_bounds(item)


def _numeric_parts(node: dict[str, Any]) -> list[dict[str, Any]]:
    if node.get("type") in ("integer", "number"):
        return [node]
    inside = [*node.get("anyOf", ()), *node.get("prefixItems", ()), node.get("items")]
    return [part for item in inside if isinstance(item, dict) for part in _numeric_parts(item)]
