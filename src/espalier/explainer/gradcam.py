"""Grad-CAM: which places of an encoder's map raise the answer.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import Problem
from espalier.explainer.layers import Layer, chosen, in_encoder, record, with_gradients
from espalier.tasks.base import ExplainTarget


@dataclass(frozen=True)
class Cam:
    """A map (h, w) of one layer, 0 or more."""

    layer: str
    map_HW: NDArray[np.float32]


def gradcam(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    targets: Sequence[ExplainTarget],
    *,
    input_hw: tuple[int, int],
    layer: str | None = None,
) -> list[Cam | Problem]:
    """A map for each target of one picture, or why it has none; `model` is in evaluation mode.

    Without a layer it is the last map of the encoder whose places the answer depends on: after a ViT's last attention
    the class token alone is read, so that its last map has no gradient. There is no map where the answer has
    no gradient at all, as where every ReLU before it is at 0. Raises UsageError for a layer without a map.
    """
    with torch.enable_grad():
        asked = with_gradients(inputs)
        seen = record(model, asked, input_hw, keep=lambda name: layer in (None, name))
        wanted = [target.activation(seen.outputs).sum() for target in targets]
    candidates = _candidates(model, seen.layers) if layer is None else [chosen(seen.layers, layer)]
    return [_cam(activation, candidates, seen.tensors) for activation in wanted]


def _candidates(model: nn.Module, found: Sequence[Layer]) -> list[Layer]:
    """The last map of the encoder; then what whole blocks gave, the last first; then all others."""
    maps = in_encoder(model, found)[::-1]
    whole = {name for name, module in model.named_modules() if any(True for _ in module.children())}
    return [*maps[:1], *(layer for layer in maps[1:] if layer.name in whole), *maps[1:]]


def _cam(activation: Tensor, candidates: Sequence[Layer], tensors: Mapping[str, Tensor]) -> Cam | Problem:
    for layer in candidates:
        assert layer.layout is not None
        tensor = tensors[layer.name]
        (gradient,) = torch.autograd.grad(activation, tensor, retain_graph=True, allow_unused=True)
        if gradient is None or not (gradient_BCHW := layer.layout.maps(gradient)).any():
            continue
        map_BCHW = layer.layout.maps(tensor).detach()
        weight_BC11 = gradient_BCHW.mean(dim=(2, 3), keepdim=True)  # eq. 1
        cam_BHW = (weight_BC11 * map_BCHW).sum(dim=1).relu()  # eq. 2
        return Cam(layer.name, cam_BHW[0].float().cpu().numpy())
    named = f"the layer '{candidates[0].name}'" if len(candidates) == 1 else "any map of the encoder"
    return Problem("", f"the answer does not depend on {named}, so there is no gradient to draw", fix="name a layer")
