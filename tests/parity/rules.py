"""The rules that parity files name: how weights are filled, how an input is drawn, which values are stored."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from parity.documents import Entry, Input
from parity.errors import CheckError
from parity.files import Array

Float32 = NDArray[np.float32]


def fill(name: str, shape: Sequence[int]) -> Float32:
    """The values of one tensor by rule `espalier-fill-1`: they follow from its name and shape alone."""
    r = np.random.RandomState(zlib.crc32(name.encode("utf-8"))).standard_normal(tuple(shape))
    last = name.rpartition(".")[2]
    if name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(r)
    elif len(shape) <= 1:
        values = 1 + 0.1 * r if "weight" in last or "gamma" in last else 0.1 * r
    elif name.endswith("_embed.weight"):
        values = r
    else:
        values = r / math.sqrt(math.prod(shape[1:]))
    return np.asarray(values, np.float32)


def fill_all(entries: Sequence[Entry]) -> dict[str, Float32]:
    """Every tensor that the rule fills, by its official name; a tensor of several names is one array.

    Raises CheckError for a name that shares a tensor which isn't there.
    """
    filled = {e.name: fill(e.name, e.shape) for e in entries if e.filled and e.same_as is None}
    for entry in entries:
        if entry.same_as is not None and entry.filled:
            if entry.same_as not in filled or filled[entry.same_as].shape != entry.shape:
                raise CheckError(f"{entry.name} shares {entry.same_as}, which is no filled tensor of its shape")
            filled[entry.name] = filled[entry.same_as]
    return filled


def draw_input(asked: Input) -> Float32:
    """The batch (B, C, H, W) by rule `espalier-input-1`, zero outside the valid sizes where there are some.

    Raises CheckError for another rule, or for valid sizes that the batch can't have.
    """
    if asked.rule != "espalier-input-1":
        raise CheckError(f"input.rule '{asked.rule}' is unknown")
    b, c, h, w = asked.shape
    coarse = np.random.RandomState(asked.seed).standard_normal((b, c, 8, 8))
    fine = np.random.RandomState(asked.seed + 1000).standard_normal((b, c, h, w))
    rows, columns = np.arange(h) * 8 // h, np.arange(w) * 8 // w
    image_BCHW = np.asarray(coarse[:, :, rows][:, :, :, columns] + 0.5 * fine, np.float32)
    return image_BCHW * ~padding_mask(asked)[:, None]


def padding_mask(asked: Input) -> NDArray[np.bool_]:
    """(B, H, W): true on padding, right of and below each image's valid size."""
    b, _, h, w = asked.shape
    sizes = asked.valid_sizes or [(h, w)] * b
    if len(sizes) != b or any(not (0 < y <= h and 0 < x <= w) for y, x in sizes):
        raise CheckError(f"input.valid_sizes {sizes} don't fit a batch of {asked.shape}")
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([(y >= valid_h) | (x >= valid_w) for valid_h, valid_w in sizes])


def sample(values: Array, n: int) -> Array:
    """The `n` values, evenly spaced in the flattened array, that a file stores of a large output."""
    flat = values.reshape(-1)
    return flat[np.arange(n) * flat.size // n]
