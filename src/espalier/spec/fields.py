"""The one way to declare a spec field: its default, unit, range, words, command-line flag and what AutoML may try."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]
"""The value that `resolve` replaces, printing and recording what it chose and why."""


class Model(BaseModel):
    """A part of a spec: frozen, and an unknown field is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=False, protected_namespaces=()
    )


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
    Bounds hold for numbers only, so a field of type `float | Auto` may state them too.
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
