"""What a layer gives of a picture, as maps to look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.explainer.layers import chosen, in_encoder, record


def features(
    model: nn.Module, inputs: Mapping[str, Tensor], *, input_hw: tuple[int, int], layer: str | None = None
) -> tuple[str, NDArray[np.float32]]:
    """The layer's name and its maps (C, h, w) of one picture; without a name the encoder's last map."""
    with torch.no_grad():
        there = record(model, inputs, input_hw).layers
        picked = in_encoder(model, there)[-1] if layer is None else chosen(there, layer)
        tensor = record(model, inputs, input_hw, keep=lambda name: name == picked.name).tensors[picked.name]
    assert picked.layout is not None
    return picked.name, np.asarray(picked.layout.maps(tensor)[0].float().cpu().numpy(), np.float32)


def strength(map_CHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) the length of the channels' vector at each place: where the layer finds much."""
    return np.asarray(np.linalg.norm(map_CHW, axis=0), np.float32)


def principal(map_CHW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w, 3) the three directions in which the places differ most, as red, green and blue: like places, like colour.

    Each direction points to where its longest arm is, so that the colours do not change from run to run.
    """
    channels, height, width = map_CHW.shape
    place_PC = map_CHW.reshape(channels, -1).T.astype(np.float64)
    place_PC -= place_PC.mean(axis=0)
    _, _, direction_KC = np.linalg.svd(place_PC, full_matrices=False)
    score_PK = place_PC @ direction_KC[:3].T
    score_PK *= np.sign(score_PK[np.abs(score_PK).argmax(axis=0), np.arange(score_PK.shape[1])] + 0.0)
    low, high = score_PK.min(axis=0), score_PK.max(axis=0)
    colour_PK = np.zeros((height * width, 3))
    colour_PK[:, : score_PK.shape[1]] = (score_PK - low) / np.maximum(high - low, 1e-12)
    return np.asarray(np.rint(255 * colour_PK), np.uint8).reshape(height, width, 3)
