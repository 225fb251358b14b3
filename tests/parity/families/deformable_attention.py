"""Multi-scale deformable attention as an operator: its output, and the gradients of its three inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from espalier.layers.deformable_attention import deformable_attention
from parity.documents import Positive
from parity.errors import CheckError
from parity.files import Array, ParityFile
from parity.findings import Finding, differs, within

KIND = "deformable attention op"
_INPUTS = ("value", "sampling_locations", "attention_weights")
_ARRAYS = {*_INPUTS, "grad_output", "output", *(f"grad_{name}" for name in _INPUTS)}
_EXEMPT = 1e-3  # of the gradients of locations: a point near a pixel's border may round to the other side


class _Tolerance(BaseModel):
    model_config = ConfigDict(extra="forbid")
    relative: Positive
    note: str


class _Document(BaseModel):
    format: Literal["espalier-parity-1"]
    spatial_shapes_hw: list[tuple[int, int]]
    heads: int
    head_dim: int
    points: int
    tolerance: _Tolerance


class DeformableAttentionChecker:
    """Claims by the kind."""

    def claims(self, file: ParityFile) -> bool:
        """Is it of the operator?"""
        return file.kind == KIND

    def check(self, file: ParityFile) -> Iterator[Finding]:
        """In float64, as the file was made, and in float32."""
        try:
            document = _Document.model_validate(file.document)
        except ValidationError as error:
            raise CheckError(str(error.errors()[0]["loc"]) + ": " + error.errors()[0]["msg"]) from None
        if file.arrays.keys() != _ARRAYS:
            raise CheckError(f"array {min(file.arrays.keys() ^ _ARRAYS)} is unknown or missing")
        _check_shapes(document, file)
        for dtype in (torch.float64, torch.float32):
            yield from _compared(document, file, dtype)


def _check_shapes(document: _Document, file: ParityFile) -> None:
    batch, tokens, queries = (*file.arrays["value"].shape[:2], file.arrays["output"].shape[1])
    levels = len(document.spatial_shapes_hw)
    wanted = {
        "value": (batch, sum(h * w for h, w in document.spatial_shapes_hw), document.heads, document.head_dim),
        "attention_weights": (batch, queries, document.heads, levels, document.points),
        "sampling_locations": (batch, queries, document.heads, levels, document.points, 2),
        "output": (batch, queries, document.heads * document.head_dim),
    }
    for name, shape in wanted.items():
        if file.arrays[name].shape != shape or tokens != wanted["value"][1]:
            raise CheckError(f"{name} is {file.arrays[name].shape}, and the document makes it {shape}")


def _compared(document: _Document, file: ParityFile, dtype: torch.dtype) -> Iterator[Finding]:
    value, locations, weights = (torch.from_numpy(file.arrays[name]).to(dtype).requires_grad_() for name in _INPUTS)
    output = deformable_attention(value, document.spatial_shapes_hw, locations, weights)
    output.backward(torch.from_numpy(file.arrays["grad_output"]).to(dtype))  # type: ignore[no-untyped-call]
    relative, kind = document.tolerance.relative, str(dtype).removeprefix("torch.")
    yield _within(f"output in {kind}", output.detach().numpy(), file.arrays["output"], relative)
    for name, given in zip(_INPUTS, (value, locations, weights), strict=True):
        assert given.grad is not None
        exempt = _EXEMPT if name == "sampling_locations" else 0.0
        stored = file.arrays[f"grad_{name}"]
        yield _within(f"grad_{name} in {kind}", given.grad.numpy(), stored, relative, exempt=exempt)


def _within(what: str, ours: Array, stored: Array, relative: float, *, exempt: float = 0.0) -> Finding:
    """`exempt` is the share of the largest differences that is left out."""
    if ours.shape != stored.shape:
        return differs(what, f"shape {ours.shape}, not {stored.shape}")
    limit = relative * max(1e-3, float(np.abs(stored).max()))
    off = np.abs(ours.astype(np.float64) - stored).reshape(-1)
    kept = np.argsort(off)[: off.size - int(off.size * exempt)]
    return within(what, ours.reshape(-1)[kept], stored.reshape(-1)[kept], limit)


CHECKER = DeformableAttentionChecker()
