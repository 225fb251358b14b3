"""Specs of earlier versions, brought to today's form one step at a time. The user's file is never rewritten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from espalier.errors import Problem, SpecError
from espalier.spec.sections import SPEC_VERSION

Step = Callable[[dict[str, Any]], dict[str, Any]]

STEPS: Mapping[int, Step] = {}
"""Version → what turns a spec of that version into one of the next. Version 1 is the first, so there is none yet."""


def migrate(
    raw: Mapping[str, Any], *, where: str = "", steps: Mapping[int, Step] = STEPS, current: int = SPEC_VERSION
) -> dict[str, Any]:
    """The values in the current version's form; without `spec_version` they are taken to be current.

    Raises SpecError for a version that this Espalier cannot read.
    """
    version = raw.get("spec_version", current)
    place = f"{where}: spec_version" if where else "spec_version"
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise SpecError(Problem(place, f"{version!r} is not a version", expected=f"expected an integer, 1-{current}"))
    if version > current:
        what = f"this spec is of version {version}; this Espalier reads up to {current}"
        raise SpecError(Problem(place, what, fix="install a newer Espalier: pip install -U espalier-vision"))
    values = dict(raw)
    for step in range(version, current):
        values = steps[step](values)
    return {**values, "spec_version": current} if "spec_version" in raw else values
