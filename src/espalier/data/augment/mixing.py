"""mixup and cutmix: batches whose pictures and labels are blended in pairs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.spec.training import AugmentSpec

Arrays = dict[str, Any]


def mix(
    inputs: Mapping[str, NDArray[np.float32]],
    targets: Mapping[str, Any],
    spec: AugmentSpec,
    rng: np.random.Generator,
    mixable: Collection[str],
) -> tuple[Arrays, Arrays]:
    """The batch blended with a shuffled copy of itself (mixup, arXiv 1710.09412; cutmix, arXiv 1905.04899).

    With both switched on, each batch gets one of the two. A batch with a target that can't be blended is left alone.
    """
    inputs_out, targets_out = dict(inputs), dict(targets)
    count = len(next(iter(inputs.values())))
    if not (spec.mixup or spec.cutmix) or count < 2 or not set(targets) <= set(mixable):
        return inputs_out, targets_out
    cut = spec.cutmix > 0 and (spec.mixup == 0 or rng.random() < 0.5)
    kept = float(rng.beta(spec.cutmix, spec.cutmix) if cut else rng.beta(spec.mixup, spec.mixup))
    partner = rng.permutation(count)
    if cut:
        corner = (float(rng.random()), float(rng.random()))
        pasted = {name: _pasted(value, partner, kept, corner) for name, value in inputs.items()}
        inputs_out = {name: value for name, (value, _) in pasted.items()}
        kept = next(iter(pasted.values()))[1]
    else:
        inputs_out = {name: _blended(value, partner, kept) for name, value in inputs.items()}
    return inputs_out, {name: _blended(value, partner, kept) for name, value in targets.items()}


def _blended(value: NDArray[np.float32], partner: NDArray[np.int64], kept: float) -> NDArray[np.float32]:
    return np.float32(kept) * value + np.float32(1 - kept) * value[partner]


def _pasted(
    image_BCHW: NDArray[np.float32], partner: NDArray[np.int64], kept: float, corner: tuple[float, float]
) -> tuple[NDArray[np.float32], float]:
    """The batch with one rectangle of each partner pasted in, and the share of pixels that stayed."""
    height, width = image_BCHW.shape[2:]
    side = np.sqrt(1 - kept)
    cy, cx = corner[0] * height, corner[1] * width
    top, bottom = (round(float(np.clip(cy + d * side * height / 2, 0, height))) for d in (-1, 1))
    left, right = (round(float(np.clip(cx + d * side * width / 2, 0, width))) for d in (-1, 1))
    out = image_BCHW.copy()
    out[:, :, top:bottom, left:right] = image_BCHW[partner][:, :, top:bottom, left:right]
    return out, 1 - (bottom - top) * (right - left) / (height * width)
