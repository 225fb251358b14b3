"""The house's recipe for some pictures, without a run: what `train` would build, for benchmarks that train by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from espalier.actions import recipe
from espalier.actions.begin import begin
from espalier.actions.models import lookup
from espalier.actions.recipe import Recipe
from espalier.data.index import Index
from espalier.runs.run import Run
from espalier.spec.load import load_spec
from espalier.spec.resolve import Decision
from espalier.tasks import base as tasks


class Silent:
    """A run that writes nothing and keeps the decisions."""

    path = Path("benchmark")

    def __init__(self) -> None:
        self.told: list[Decision] = []

    def say(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""

    def emit(self, kind: str, /, **data: Any) -> None:
        """Nothing."""

    def decisions(self, made: Sequence[Decision]) -> None:
        """Kept."""
        self.told += made


def resolved(
    values: Mapping[str, Any],
    train: Index,
    *,
    n_val: int = 0,
    task: str = "detection",
    overrides: Sequence[str] = (),
) -> Recipe:
    """The recipe of a spec's values for these training pictures."""
    run = cast(Run, Silent())
    spec = load_spec(values, overrides=overrides, lookup=lookup)
    return recipe.make(begin(spec, tasks.get(task), run), train, n_val=n_val, run=run)
