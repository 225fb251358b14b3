"""`train.start_from`: the weights of another model of the same network; class heads are carried over by class name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from espalier.actions.models import open_model
from espalier.actions.recipe import Recipe
from espalier.bundle.manifest import Licence
from espalier.errors import ModelError, Problem
from espalier.runs.run import Run

if TYPE_CHECKING:
    from torch import Tensor

    from espalier.layers.model import TrainableModel

_SHOWN = 5  # names in a line


def inheriting(recipe: Recipe, model: TrainableModel, run: Run) -> Recipe:
    """The recipe with the licences of the model that `train.start_from` names, whose weights are put into `model`.

    Raises what `start_from` raises.
    """
    parent = recipe.spec.train.start_from
    if parent is None:
        return recipe
    found = start_from(model, parent, recipe.classes, run, licences=recipe.spec.licences)
    for licence in found:
        run.emit("licence", **licence.model_dump())
    return replace(recipe, inherited=found)


def start_from(
    model: TrainableModel, path: str, classes: Sequence[str], run: Run, *, licences: str = "any"
) -> tuple[Licence, ...]:
    """The licences of another model of the same network, whose weights are put into `model`.

    Of a class head the rows of classes that both have are kept, the others stay new, and so does a part that the other
    model lacks as a whole (the mask head of one that outlines); all of it is said.
    Raises ModelError when any other weight is missing or has another shape, and LicenceError where `licences` refuses.
    """
    opened = open_model(path, device="cpu", backend="torch", licences=licences)
    theirs, own = opened.module().state_dict(), model.state_dict()
    same = opened.classes == tuple(classes)
    heads = [] if same else [name for name in own if name.startswith(model.head_prefixes() or ("\0",))]
    parts = [p for p in model.part_prefixes() if not any(name.startswith(p) for name in theirs)]
    lacking = [name for name in own if name.startswith(tuple(parts) or ("\0",))]
    whole = [name for name in own if name not in heads and name not in lacking]
    wrong = [name for name in whole if _shape(theirs, name) != own[name].shape]
    if wrong:
        raise ModelError(_misfit(path, wrong))
    if lacking:
        run.say(f"made anew, since {path} has none: {_named(sorted({name.split('.')[0] for name in lacking}))}")
    for name in whole:
        own[name].copy_(theirs[name])
    run.note(parent=path)
    if same:
        run.say(f"starts from {path}")
        return tuple(opened.licences)
    rows = Rows.of(opened.classes, classes)
    fresh = [name for name in heads if not rows.carry(theirs.get(name), own[name], any_object=_any(model, name))]
    run.say(f"starts from {path}: {rows.words()}; heads with a row a class: {_named(heads)}")
    if fresh:
        run.say(f"made anew, since the other model's are of another width: {_named(fresh)}")
    return tuple(opened.licences)


@dataclass(frozen=True)
class Rows:
    """Which rows of a class head stand for the same class in two models."""

    pairs: Sequence[tuple[int, int]]  # theirs, ours
    theirs: Sequence[str]
    ours: Sequence[str]

    @classmethod
    def of(cls, theirs: Sequence[str], ours: Sequence[str]) -> Rows:
        """By the classes' names."""
        place = {name: number for number, name in enumerate(theirs)}
        pairs = [(place[name], number) for number, name in enumerate(ours) if name in place]
        return cls(pairs, tuple(theirs), tuple(ours))

    def carry(self, given: Tensor | None, own: Tensor, *, any_object: bool) -> bool:
        """Copies the rows; False where the tensors have nothing in common.

        With `any_object` the first row stands for objects of all classes, so it is kept whatever its class is called.
        """
        if given is None or given.shape[1:] != own.shape[1:] or len(given) < len(self.theirs):
            return False
        for source, target in [(0, 0)] if any_object else self.pairs:
            own[target].copy_(given[source])
        return True

    def words(self) -> str:
        """What is kept, new and dropped."""
        kept = [self.ours[number] for _, number in self.pairs]
        new = [name for name in self.ours if name not in kept]
        dropped = [name for name in self.theirs if name not in kept]
        parts = (("kept by name", kept), ("new", new), ("dropped", dropped))
        return "; ".join(f"{what}: {_named(names)}" if names else f"{what}: none" for what, names in parts)


def _any(model: TrainableModel, name: str) -> bool:
    return name.startswith(model.any_object_prefixes() or ("\0",))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _misfit(path: str, wrong: Sequence[str]) -> Problem:
    what = f"{path} does not fit this network: {_named(wrong)}"
    return Problem(
        "train.start_from", what, "a model of the same network, backbone and input", "train without start_from"
    )


def _shape(state: Mapping[str, Any], name: str) -> Any:
    return state[name].shape if name in state else None
