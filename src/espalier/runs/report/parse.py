"""Blocks from a file back to their classes. What a stranger's events.jsonl holds is checked here, once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from espalier import blocks
from espalier.blocks import Bars, Block, Curve, Gallery, Headline, Matrix, Table, Text
from espalier.errors import ModelError, Problem

_KINDS: dict[str, type[Any]] = {k.kind: k for k in (Headline, Curve, Bars, Table, Matrix, Gallery, Text)}
_NUMBERS = frozenset({"x", "y", "low", "high", "values", "counts", "value"})
"""Fields of numbers, where a null stands for a number that was not finite."""


def block_of(raw: object, where: str) -> Block | None:
    """The block that `blocks.to_json` wrote; None for a kind that only a newer Espalier knows. Raises ModelError."""
    if not isinstance(raw, Mapping) or not isinstance(raw.get("kind"), str):
        raise ModelError(Problem(where, "is not a block", "an object with a 'kind'"))
    kind = _KINDS.get(raw["kind"])
    if kind is None:
        return None
    try:
        data = {key: _with_nan(key, item) for key, item in raw.items() if key != "kind"}
        block: Block = TypeAdapter(kind).validate_python(data)
    except RecursionError as error:
        raise ModelError(Problem(where, "is nested too deeply", "a block as Espalier writes it")) from error
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{raw['kind']}.{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ModelError(Problem(where, what, "a block as Espalier writes it")) from error
    _check_lengths(block, where)
    return block


def _with_nan(key: str, value: Any) -> Any:
    """Nulls among numbers become NaN, and `{"figure": …}` in a table cell becomes the figure itself."""
    if isinstance(value, Mapping):
        inner = value["figure"] if set(value) == {"figure"} else value
        if not isinstance(inner, Mapping):
            return inner
        made = {k: _with_nan(k, v) for k, v in inner.items()}
        return TypeAdapter(blocks.Figure).validate_python(made) if set(value) == {"figure"} else made
    if isinstance(value, list):
        return [math.nan if item is None and key in _NUMBERS else _with_nan(key, item) for item in value]
    return math.nan if value is None and key == "value" else value


def _check_lengths(block: Block, where: str) -> None:
    lengths: list[set[int]] = []
    if isinstance(block, Curve):
        lengths = [{len(v) for v in (s.x, s.y, s.low, s.high) if v is not None} for s in block.series]
    elif isinstance(block, Bars):
        lengths = [{len(v) for v in (block.names, block.values, block.low, block.high) if v is not None}]
    elif isinstance(block, Table):
        lengths = [{len(block.columns), len(row)} for row in block.rows]
    elif isinstance(block, Matrix):
        lengths = [{len(block.rows), len(block.counts)}, *({len(block.columns), len(row)} for row in block.counts)]
    if any(len(found) > 1 for found in lengths):
        raise ModelError(Problem(where, f"{block.kind} '{block.title}': its parts differ in length"))
