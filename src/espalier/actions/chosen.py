"""What either protocol of `fit` comes to: a trained model, the scores that stand for it, and how it was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier.actions.labels import LabelCurve
from espalier.actions.recipe import Recipe
from espalier.actions.scoring import Scored, as_difference
from espalier.blocks import Block, Figure, Table
from espalier.runs.run import Run
from espalier.tasks.base import Comparison

if TYPE_CHECKING:
    from espalier.layers.model import TrainableModel

FROZEN = "head on the frozen encoder"
TUNED = "fine-tuned"
WHOLE = "trained as a whole"


@dataclass(frozen=True)
class Candidate:
    """A way of training and what it scored on pictures that it did not see. `seconds`: of scoring and training it."""

    way: str
    scored: Scored
    seconds: float


@dataclass(frozen=True)
class Choice:
    """The candidate that is kept, and why. `comparison` is of the fine-tuned one against the frozen one."""

    kept: Candidate
    reason: str
    tried: tuple[Candidate, ...]
    comparison: Comparison | None = None

    @property
    def tuned(self) -> bool:
        """Is it the fine-tuned one?"""
        return self.kept.way == TUNED


def choose(frozen: Candidate, tuned: Candidate, comparison: Comparison) -> Choice:
    """The fine-tuned one when the paired test says that it is better; else the frozen one, which is simpler."""
    kept = tuned if comparison.verdict == "better" else frozen
    said = {
        "better": "fine-tuning is better",
        "worse": "fine-tuning is worse",
        "can't tell": "nobody can tell that fine-tuning is better, so the simpler one is kept",
    }[comparison.verdict]
    return Choice(kept, said, (frozen, tuned), comparison)


def choice_blocks(choice: Choice) -> list[Block]:
    """Both candidates side by side, and the paired difference."""
    main = choice.kept.scored.scores.main
    rows: list[Sequence[str | float | int | Figure | None]] = [
        [one.way, one.scored.scores.figures[main], round(one.seconds, 1), "kept" if one is choice.kept else ""]
        for one in choice.tried
    ]
    if choice.comparison is not None:
        rows.append(["difference, paired", as_difference(choice.comparison.figure), None, choice.comparison.verdict])
    name = choice.kept.scored.scores.figures[main].name
    return [Table("What was tried", ["way", name, "seconds", ""], rows, choice.reason)]


@dataclass(frozen=True)
class Trained:
    """The model to deploy and the recipe that made it; `words` say what its scores are of."""

    model: TrainableModel
    recipe: Recipe
    choice: Choice
    words: str
    on_all: bool
    epochs: int
    curve: LabelCurve | None = None


def save(trained: Trained, meta: dict[str, Any], run: Run) -> Path:
    """The model as the run's best checkpoint."""
    import shutil

    from espalier.trainer.checkpoint import TrainerState, save_checkpoint

    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
    figures = {key: figure.value for key, figure in trained.choice.kept.scored.scores.figures.items()}
    info = {**meta, "figures": figures, "epoch": trained.epochs, "step": 0, "events_offset": run.event_offset()}
    folder = run.folder("checkpoints") / "best"
    save_checkpoint(folder, trained.model.state_dict(), TrainerState({}, {}), info)
    return folder
