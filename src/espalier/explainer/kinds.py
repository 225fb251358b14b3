"""The kinds of maps there are, what each needs, and the one place that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import Problem
from espalier.explainer.frames import enlarge
from espalier.explainer.rise import rise
from espalier.explainer.view import View
from espalier.tasks.base import ExplainTarget

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Kind:
    """A kind of map. `of_module`: it looks inside the model, so a bundle has none. `from_zero`: values below 0 speak
    against the target and are drawn as nothing."""

    name: str
    title: str
    of_module: bool
    from_zero: bool
    words: str


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("gradcam", "Grad-CAM", True, True, "what in a layer raises the target, by its gradient"),
        Kind(
            "rise", "RISE", False, True, "by how much the score rises where the picture is seen, by hiding parts of it"
        ),
        Kind("rollout", "Attention roll-out", True, False, "how much of each patch reaches the head; of no one target"),
        Kind("features", "Features", True, False, "where a layer finds much; of no one target"),
    )
}
FITS_ALL = tuple(name for name, kind in KINDS.items() if not kind.of_module)


@dataclass(frozen=True)
class Options:
    """How the maps are made."""

    masks: int
    cells: int
    layer: str | None
    seed: int


@dataclass(frozen=True)
class Heat:
    """A map (H, W) over the part of the network's input that shows the picture, and the layer it is of.

    `inside_CHW` are the layer's own maps, where these are the matter.
    """

    kind: Kind
    map_HW: NDArray[np.float32]
    layer: str = ""
    inside_CHW: NDArray[np.float32] | None = None


def make(
    kind: str, view: View, module: nn.Module | None, targets: Sequence[ExplainTarget], options: Options
) -> Sequence[Heat | Problem]:
    """The map of that kind for each target, or why there is none; `module` is what the view's backend runs, None for a
    bundle."""
    found = KINDS[kind]
    if not found.of_module:
        maps = rise(view, targets, masks=options.masks, cells=options.cells, seed=options.seed)
        return [Heat(found, map_HW) for map_HW in maps]
    assert module is not None
    return _INSIDE[kind](found, view, module, targets, options)


def _gradcam(
    kind: Kind, view: View, module: nn.Module, targets: Sequence[ExplainTarget], options: Options
) -> list[Heat | Problem]:
    from espalier.explainer.gradcam import gradcam

    cams = gradcam(module, tensors(view, module), targets, input_hw=view.geometry.input_hw, layer=options.layer)
    return [cam if isinstance(cam, Problem) else Heat(kind, _over(view, cam.map_HW), cam.layer) for cam in cams]


def _rollout(
    kind: Kind, view: View, module: nn.Module, targets: Sequence[ExplainTarget], options: Options
) -> list[Heat]:
    from espalier.explainer.rollout import rollout

    share_HW = rollout(module, tensors(view, module), targets[0], input_hw=view.geometry.input_hw)
    return [Heat(kind, _over(view, share_HW))] * len(targets)


def _features(
    kind: Kind, view: View, module: nn.Module, targets: Sequence[ExplainTarget], options: Options
) -> list[Heat]:
    from espalier.explainer.features import features, strength

    layer, inside_CHW = features(module, tensors(view, module), input_hw=view.geometry.input_hw, layer=options.layer)
    return [Heat(kind, _over(view, strength(inside_CHW)), layer, inside_CHW)] * len(targets)


_INSIDE: Mapping[str, Callable[..., Sequence[Heat | Problem]]] = {
    "gradcam": _gradcam,
    "rollout": _rollout,
    "features": _features,
}


def tensors(view: View, module: nn.Module) -> dict[str, Tensor]:
    """The view's inputs as a batch of one, where the module is."""
    import torch

    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    return {name: torch.from_numpy(array[None].copy()).to(device) for name, array in view.arrays.items()}


def _over(view: View, map_HW: NDArray[Any]) -> NDArray[np.float32]:
    """A layer's map, which covers the whole input, over the part that shows the picture."""
    height, width = view.size_hw
    return enlarge(map_HW, view.geometry.input_hw)[:height, :width]
