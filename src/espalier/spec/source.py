"""Spec values before they are checked, and where each one was written: a file's line, an override, a preset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from espalier.errors import Problem, SpecError

MAX_DEPTH = 30

Path = tuple[str | int, ...]
"""The way to a value: section, field, position in a list."""


@dataclass(frozen=True)
class Origin:
    """Where a value was written (`dino.yaml:14`), and a scalar's bare text, which a field of text keeps as it is."""

    where: str
    text: str | None = None


@dataclass(frozen=True)
class Source:
    """Nested values of plain JSON data with the origin of each; a later source wins over an earlier one."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """The origin of the value, of what is in it, or of the section it should have been in; and its dotted name."""
        above = [self.origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.origins]
        below = [origin for inside, origin in self.origins.items() if inside[: len(path)] == path]
        place = next((origin.where for origin in [*above[:1], *below, self.origins.get((), Origin(""))]), "")
        return ": ".join(part for part in (place, dotted(path)) if part)

    def over(self, earlier: Source) -> Source:
        """`earlier` with the values of this source put over it; sections merge, everything else is replaced."""
        origins = dict(earlier.origins)
        values = _merged(earlier.values, self.values, (), origins)
        return Source(values, origins | self.origins)


def _merged(low: dict[str, Any], high: dict[str, Any], path: Path, origins: dict[Path, Origin]) -> dict[str, Any]:
    """`high` over `low`; what is replaced loses its origins."""
    merged = dict(low)
    for key, value in high.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(low.get(key), dict):
            merged[key] = _merged(low[key], value, here, origins)
        else:
            merged[key] = value
            for stale in [p for p in origins if p[: len(here)] == here]:
                del origins[stale]
    return merged


def dotted(path: Path) -> str:
    """`train.step_epochs[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nested(path: Path, value: Any) -> dict[str, Any]:
    """The value inside its sections."""
    for part in reversed(path):
        value = {part: value}
    return dict(value)


def from_mapping(values: Mapping[str, Any], where: str = "", *, depth: int = 0) -> Source:
    """Values given in Python or by a preset. A key may be dotted; tuples, paths and numpy numbers become plain data.

    Raises SpecError for a key that is not text, or for values nested without end.
    """
    source = Source()
    for key, value in values.items():
        if not isinstance(key, str):
            raise SpecError(Problem(where, f"the key {key!r} is not text", fix="name the field, e.g. 'train.epochs'"))
        path = tuple(key.split("."))
        source = Source(nested(path, _plain(value, where, depth + 1)), {path: Origin(where)}).over(source)
    return source


def _plain(value: Any, where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise SpecError(Problem(where, f"nested more than {MAX_DEPTH} deep"))
    if isinstance(value, Mapping):
        return from_mapping(value, where, depth=depth).values
    if isinstance(value, (list, tuple)):
        return [_plain(item, where, depth + 1) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and numbers, without importing numpy
        return value.tolist()
    return value


def leaves(values: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is not a section, with its path."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value
