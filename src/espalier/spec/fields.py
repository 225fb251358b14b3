"""The one way to declare a spec field: its default, unit, range, words, command-line flag and what AutoML may try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo as PydanticField
from pydantic_core import PydanticCustomError

Auto = Literal["auto"]
"""The value that `resolve` replaces, printing and recording what it chose and why."""

Device = Literal["auto", "cpu", "cuda", "mps"]
"""Where a graph runs."""

OnnxBackend = Literal["onnxruntime", "openvino"]
"""What runs an ONNX graph."""

BundleBackend = Literal["auto", OnnxBackend]
"""What runs a bundle's graph; auto is ONNX Runtime."""

GraphBackend = Literal[BundleBackend, "torch"]
"""What runs a model's graph: a bundle's, or with torch a checkpoint's; auto takes what suits the model."""

OUT_OF_RANGE = "out_of_range"
"""The type of the pydantic error that a number outside its field's bounds gives."""


class Model(BaseModel):
    """A part of a spec: frozen, an unknown field is an error, and numbers keep to their field's bounds."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=False,
        protected_namespaces=(),
    )

    @field_validator("*", mode="after")
    @classmethod
    def _keeps_to_bounds(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        numbers = value if isinstance(value, tuple) else (value,)
        if any(_is_number(n) and not is_within(n, extras(field).get("bounds", {})) for n in numbers):
            raise PydanticCustomError(OUT_OF_RANGE, "out of range")
        return value


@dataclass(frozen=True)
class Tunable:
    """The range that a search may try: `scale` is how it is walked ('linear', 'log', or 'choice' among `choices`)."""

    low: float | None = None
    high: float | None = None
    scale: Literal["linear", "log", "choice"] = "linear"
    choices: tuple[Any, ...] = ()


def knob(
    default: Any,
    words: str,
    *,
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    tunable: Tunable | None = None,
    flag: str = "",
    examples: list[Any] | None = None,
    factory: Any = None,
) -> Any:
    """A pydantic field that carries everything Espalier's CLI, schema, docs and searches read.

    `words` is the description, `unit` is shown with it, `flag` a short command-line name such as "--minutes".
    Bounds hold for each number in the value and for numbers only, so a field of type `float | Auto` or a pair of
    numbers may state them too. NaN and infinity are never within bounds, stated or not.
    """
    extra: dict[str, Any] = {}
    if unit:
        extra["unit"] = unit
    if tunable:
        extra["tunable"] = {k: v for k, v in asdict(tunable).items() if v not in (None, ())}
    if flag:
        extra["flag"] = flag
    bounds = {k: v for k, v in {"ge": ge, "gt": gt, "le": le, "lt": lt}.items() if v is not None}
    if bounds:
        extra["bounds"] = bounds
    kwargs: dict[str, Any] = {"default_factory": factory} if factory is not None else {"default": default}
    return Field(description=words, json_schema_extra=extra or None, examples=examples, **kwargs)


def extras(field: PydanticField) -> dict[str, Any]:
    """What `knob` keeps beside pydantic's own words: unit, tunable, flag, bounds."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def is_within(number: float, bounds: Mapping[str, float]) -> bool:
    """Is it finite and inside the bounds (ge, gt, le, lt)?"""
    infinite = float("inf")
    return (
        -infinite < number < infinite
        and number >= bounds.get("ge", -infinite)
        and number > bounds.get("gt", -infinite)
        and number <= bounds.get("le", infinite)
        and number < bounds.get("lt", infinite)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
