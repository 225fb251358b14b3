"""The 15 + 4 common corruptions of ImageNet-C, at severities 1 to 5, of any picture.

After D. Hendrycks and T. Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
2019 (arXiv 1903.12261). Parameters are those of their code (github.com/hendrycks/robustness) and, where that one needs
ImageMagick or moves what boxes lie on (motion_blur, elastic_transform), of C. Michaelis et al.'s imagecorruptions; both
Apache-2.0. Parameters in pixels are pixels of the picture that is given, at any size: they were chosen at 224 px.

Shape, depth and geometry stay. Colour channels are corrupted and alpha is left alone. Where a corruption speaks of
colour, one band is grey, and any other number of bands is treated as brightness that they share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ImageError
from espalier.vision.corruptions import blur, colour, digital, noise, weather
from espalier.vision.corruptions.names import (
    COMMON,
    EXTRA,
    GROUPS,
    SETS,
    SEVERITIES,
    SHORT,
    Corruption,
    check,
    names,
    parse,
    select,
)
from espalier.vision.corruptions.values import as_depth

__all__ = [
    "COMMON", "EXTRA", "GROUPS", "SETS", "SEVERITIES", "SHORT",
    "Corruption", "check", "corrupt", "generator", "names", "parse", "select",
]  # fmt: skip

Apply = Callable[[NDArray[Any], int, np.random.Generator], NDArray[Any]]
"""(image_HWC of colours alone, severity, rng) → float32 shares of full light, or whole numbers of the same depth."""

_ROOMS = (noise, blur, weather, colour, digital)
TABLE: Mapping[str, Apply] = {
    name: next(getattr(room, name) for room in _ROOMS if hasattr(room, name)) for name in names()
}


def corrupt(
    image_HWC: NDArray[Any], name: str, severity: int, *, seed: int, key: str, alpha: bool | None = None
) -> NDArray[Any]:
    """The corrupted picture, uint8 or uint16 as the given one and of its shape, which is left as it is.

    What is drawn depends on (seed, key, name, severity) alone; `key` is the picture's name. `alpha`: is the last
    channel alpha? Without it, that of 2 or 4 is. Raises InputError, and ImageError for what is not such a picture.
    """
    check(name, severity)
    if image_HWC.ndim != 3 or image_HWC.dtype not in (np.uint8, np.uint16) or 0 in image_HWC.shape:
        raise ImageError(
            f"a picture (H, W, channels) of 8 or 16 bit is needed, not {image_HWC.dtype} {image_HWC.shape}"
        )
    has_alpha = image_HWC.shape[2] in (2, 4) if alpha is None else alpha
    colours = image_HWC[:, :, :-1] if has_alpha else image_HWC
    found = TABLE[name](colours, severity, generator(seed, key, name, severity))
    done = as_depth(found, image_HWC.dtype) if found.dtype.kind == "f" else found
    return np.concatenate([done, image_HWC[:, :, -1:]], axis=2) if has_alpha else done


def generator(seed: int, key: str, name: str, severity: int) -> np.random.Generator:
    """Randomness that depends on these four alone, on every machine."""
    text = f"{seed}\0{key}\0{name}\0{severity}".encode("utf-8", "surrogatepass")
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little"))
