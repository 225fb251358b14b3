"""The frozen path: every picture through the encoder once, then heads on the kept features in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from espalier.actions.labels import subset
from espalier.actions.recipe import Recipe
from espalier.actions.scoring import Scored, scores_of
from espalier.actions.start_from import inheriting
from espalier.data.index import Index
from espalier.errors import Problem, SpecError
from espalier.networks import card as cards
from espalier.networks.card import Probe
from espalier.runs.run import Run
from espalier.tasks.base import Sample, Scores
from espalier.vision.geometry import Geometry

if TYPE_CHECKING:
    from espalier.layers.model import TrainableModel

ANY_SIZE = Geometry.identity((1, 1))  # the decoders of probes don't look at pixels
TIMED = 32  # pictures that are embedded to see how long one takes
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Frozen:
    """The features (N, F) of N pictures, their targets and truths (without the pictures), and how heads are made."""

    recipe: Recipe
    probe: Probe
    model: TrainableModel
    features_NF: NDArray[Any]
    targets: Mapping[str, NDArray[Any]]
    truths: tuple[Sample, ...]
    strata: NDArray[np.int64]  # (N,) the first class of each picture, -1 without one
    start: Mapping[str, Any]  # the model's tensors before any head was written into it
    seconds: float

    def head(self, rows: Rows) -> Any:
        """A head trained on these pictures."""
        targets = {name: values[rows] for name, values in self.targets.items()}
        groups = [self.truths[row].group for row in rows]
        return self.probe.fit(self.features_NF[rows], targets, groups=groups, seed=self.recipe.spec.seed)

    def predictions(self, head: Any, rows: Rows) -> list[Any]:
        """What the network with this head says of these pictures."""
        outputs = self.probe.outputs(head, self.features_NF[rows])
        recipe = self.recipe
        return recipe.decoder(outputs, [ANY_SIZE] * len(rows), recipe.classes, recipe.decode.params)

    def started(self, rows: Rows) -> TrainableModel:
        """The model, its encoder as at the start, with a head that was trained on these pictures. There is only one."""
        self.model.load_state_dict(self.start)
        self.model.requires_grad_(True)
        self.probe.write(self.head(rows))
        return self.model

    def truths_of(self, rows: Rows) -> list[Sample]:
        """Their truths."""
        return [self.truths[row] for row in rows]

    @property
    def rows(self) -> Rows:
        """Every picture's row."""
        return np.arange(len(self.truths))

    def scores(self, predictions: Sequence[Any], rows: Rows, *, bootstrap: int) -> Scores:
        """What predictions of these pictures score."""
        recipe = self.recipe
        truths = self.truths_of(rows)
        return scores_of(recipe.task, recipe.classes, predictions, truths, bootstrap=bootstrap, seed=recipe.spec.seed)


def embed(
    recipe: Recipe, index: Index, run: Run, *, seconds: float | None = None, beside: Frozen | None = None
) -> Frozen:
    """The features of the pictures of `index`, by the encoder of `beside` if given.

    When all would take more than `seconds`, only as many as fit are embedded, and this is said. Raises SpecError for a
    network that has no frozen path.
    """
    recipe, model, probe = _probe(recipe, run) if beside is None else (beside.recipe, beside.model, beside.probe)
    begin = time.perf_counter()
    index = index if seconds is None else _fitting(recipe, probe, index, run, seconds)
    samples: Sequence[Sample] = recipe.samples(index)  # type: ignore[assignment]  # it has all that is used of one
    features_NF = probe.embed(samples, tick=_tick(run, len(index)))
    spent = time.perf_counter() - begin
    truths = truths_of(recipe, index)
    targets = [recipe.task.targets(truth, ANY_SIZE, recipe.classes) for truth in truths]
    stacked = {name: np.stack([target[name] for target in targets]) for name in targets[0]}
    start = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return Frozen(recipe, probe, model, features_NF, stacked, tuple(truths), strata_of(index), start, spent)


def _probe(recipe: Recipe, run: Run) -> tuple[Recipe, TrainableModel, Probe]:
    if recipe.card.probe is None:
        what = f"'{recipe.card.name}' has no head that could be fitted on frozen features"
        raise SpecError(Problem("network.name", what, fix="use `espalier train` with a spec"))
    model = recipe.build()
    probe = cards.load(recipe.card.probe)(model, recipe.prepare, device=str(recipe.spec.train.device))
    return inheriting(recipe, model, run), model, probe


def _fitting(recipe: Recipe, probe: Probe, index: Index, run: Run, seconds: float) -> Index:
    """As many pictures, class by class, as can be embedded in that time."""
    if len(index) <= 2 * TIMED:
        return index
    samples: Any = recipe.samples(index)
    begin = time.perf_counter()
    probe.embed(samples.subset(np.linspace(0, len(index) - 1, TIMED).astype(int)))
    share = seconds / ((time.perf_counter() - begin) / TIMED * len(index))
    if share >= 1:
        return index
    rows = subset(np.arange(len(index)), strata_of(index), share, np.random.default_rng(recipe.spec.seed))
    run.say(f"the frozen path learns from {len(rows)} of {len(index)} pictures, as many as {seconds:.0f} s allow")
    return index.subset(rows)


def strata_of(index: Index) -> Rows:
    """(N,) the first class of each picture, -1 without one."""
    strata = np.full(len(index), -1, np.int64)
    strata[index.image_row[::-1]] = index.class_id[::-1]
    return strata


def score_all(recipe: Recipe, predictions: Sequence[Any], truths: Sequence[Sample], *, bootstrap: int) -> Scored:
    """Predictions of these pictures with their scores."""
    seed = recipe.spec.seed
    scores = scores_of(recipe.task, recipe.classes, predictions, truths, bootstrap=bootstrap, seed=seed)
    return Scored(tuple(predictions), tuple(truths), scores, 0.0)


def truths_of(recipe: Recipe, index: Index) -> list[Sample]:
    """Names, groups and labels as the task's samples; no picture is read."""
    group = index.group
    return [
        recipe.task.sample(
            None,
            index.annotations(row),
            recipe.classes,
            name=index.name(row),
            group=index.name(row) if group is None else str(group[row]),
        )
        for row in range(len(index))
    ]


def _tick(run: Run, count: int) -> Any:
    """Says every fifth of the way, when it takes long."""
    begin, told = time.perf_counter(), [0.0]

    def tick(done: int) -> None:
        now = time.perf_counter()
        if now - begin > 10 and now - told[0] > 10 and done < count:
            told[0] = now
            left = (now - begin) / done * (count - done)
            run.say(f"features of {done} of {count} pictures, {left:.0f} s to go")

    return tick
