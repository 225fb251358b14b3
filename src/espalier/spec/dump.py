"""A spec as YAML that reads back to the same spec, bare or with every field's words beside it."""

from __future__ import annotations

import textwrap
from typing import Any

from pydantic import BaseModel

from espalier.spec.describe import FieldInfo, fields, section_of
from espalier.spec.load import spec_class, values_of
from espalier.spec.sections import Spec
from espalier.spec.yaml_text import written

_WIDTH = 110
_COMMENT_COLUMN = 34


def to_yaml(spec: Spec, *, comments: bool = False) -> str:
    """The spec's YAML. With `comments` each field has its description, type, range and unit."""
    infos = {field.path: field for field in fields(_full_class(spec))}
    lines = _section(values_of(spec), "", infos if comments else {}, 0)
    return "\n".join(lines) + "\n"


def _full_class(spec: Spec) -> type[BaseModel]:
    """The spec's class, with the fields of the network it really holds."""
    return spec_class(type(spec.network)) if spec.network else type(spec)


def _section(values: dict[str, Any], prefix: str, infos: dict[str, FieldInfo], depth: int) -> list[str]:
    lines: list[str] = []
    for name, value in values.items():
        info = infos.get(f"{prefix}{name}")
        if isinstance(value, dict) and value and (info is None or section_of(info.annotation)):
            lines += ["", *_commented(info, depth)] if depth == 0 else _commented(info, depth)
            lines += [f"{'  ' * depth}{name}:", *_section(value, f"{prefix}{name}.", infos, depth + 1)]
        else:
            lines += _field(name, value, info, depth)
    return lines


def _commented(info: FieldInfo | None, depth: int) -> list[str]:
    return [f"{'  ' * depth}# {info.description}"] if info else []


def _field(name: str, value: Any, info: FieldInfo | None, depth: int) -> list[str]:
    """`epochs: auto   # Passes over … (integer or auto, 1-100000 epochs)`; a comment too long goes above."""
    line = f"{'  ' * depth}{name}: {written(value)}"
    if len(line) > _WIDTH and isinstance(value, list):
        line = "\n".join([f"{'  ' * depth}{name}:", *(f"{'  ' * depth}  - {written(item)}" for item in value)])
    if info is None:
        return [line]
    span = " ".join(part for part in (info.range, info.unit) if part)
    comment = f"# {info.description} ({', '.join(part for part in (info.type, span) if part)})"
    beside = f"{line:<{_COMMENT_COLUMN}} {comment}"
    if "\n" not in line and len(beside) <= _WIDTH:
        return [beside]
    return [
        *textwrap.wrap(comment[2:], _WIDTH, initial_indent=f"{'  ' * depth}# ", subsequent_indent=f"{'  ' * depth}# "),
        line,
    ]
