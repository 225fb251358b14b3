"""Weight files from elsewhere, opened without running anything that is in them."""

from __future__ import annotations

import argparse
import collections
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from espalier.errors import ModelError, Problem

PICKLED = frozenset({".pth", ".pt", ".bin", ".ckpt", ".tar"})
_NUMPY_KINDS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
INERT = (argparse.Namespace, collections.OrderedDict, np.dtype, *(type(np.dtype(kind)) for kind in _NUMPY_KINDS))
"""Types that a foreign pickle may also hold beside tensors, and numpy's scalars. They only carry values."""

_WRAPPERS = ("state_dict_ema", "model_ema", "ema_model", "state_dict", "model", "teacher", "module")
_PREFIXES = ("module.", "_orig_mod.", "model.")

_DAMAGE = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    AssertionError, ImportError, struct.error,
)  # fmt: skip
"""What torch's reader raises of bytes that are no pickle, beside pickle's own error."""


@dataclass(frozen=True)
class Foreign:
    """Tensors by name, and the arguments of the training script that wrote them, where it kept them."""

    tensors: dict[str, Tensor]
    arguments: dict[str, Any]


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors alone, see `read_foreign`. Raises ModelError."""
    return read_foreign(file).tensors


def read_foreign(file: Path) -> Foreign:
    """The tensors of a .safetensors or pickled file by name, on the CPU, out of whatever they were wrapped in.

    A pickle is opened by `torch.load(weights_only=True)`, which refuses all but tensors and a few inert types.
    Raises ModelError.
    """
    if file.suffix == ".safetensors":
        return Foreign(read_safetensors(file), {})
    if file.suffix not in PICKLED:
        known = ", ".join(sorted({".safetensors", *PICKLED}))
        raise ModelError(Problem(str(file), "not a kind of weight file that is known here", f"one of {known}"))
    content = _unpickled(file)
    tensors = {name: value for name, value in _unwrapped(content).items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(Problem(str(file), "there are no named tensors in it"))
    return Foreign(_without_prefix(tensors), _arguments(content))


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file. Raises ModelError."""
    try:
        tensors: dict[str, Tensor] = load_file(file, device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(Problem(str(file), f"can't be read as safetensors: {error}")) from error
    return tensors


def _unpickled(file: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_allowed()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle's protocol: it is read, or refused in our words
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(_refusal(file, str(error))) from error
    except _DAMAGE as error:
        raise ModelError(_damaged(file, str(error))) from error


def _damaged(file: Path, reason: str) -> Problem:
    """What torch's reader says of bytes that end early or make no sense: its first sentence."""
    first = reason.strip().partition("\n")[0].partition(". ")[0][:160]
    what = "can't be read as a weight file: it is truncated or damaged, or not one" + (f" ({first})" if first else "")
    return Problem(str(file), what, fix="fetch it again")


def _refusal(file: Path, reason: str) -> Problem:
    """What torch would not open, in one line: the type it met, where it says so."""
    found = re.search(r"GLOBAL (\S+)", reason)
    if found is None:
        return Problem(
            str(file), "can't be read as a weight file: it is truncated or damaged, or not one", fix="fetch it again"
        )
    fix = "it could run code when it is opened: convert it to safetensors where you trust it"
    return Problem(str(file), f"refused: it holds a {found[1]}", "tensors and plain values only", fix)


def _allowed() -> list[Any]:
    scalar: Any = np.float64(0).__reduce__()[0]  # numpy's function that rebuilds a scalar, wherever it lives
    return [*INERT, scalar, (scalar, "numpy.core.multiarray.scalar")]  # the second is numpy 1's name for it


def _unwrapped(content: Any) -> Mapping[str, Any]:
    """The name-to-tensor mapping inside the usual wrappers of training scripts."""
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return {str(name): value for name, value in content.items()}
        content = inner
    if isinstance(content, Mapping):
        return {str(name): value for name, value in content.items()}
    raise ModelError(f"a weight file holds named tensors; this one holds a {type(content).__name__}")


def _arguments(content: Any) -> dict[str, Any]:
    kept = content.get("args") if isinstance(content, Mapping) else None
    return dict(vars(kept)) if isinstance(kept, argparse.Namespace) else {}


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same names without what a wrapping module put before every one of them."""
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
