"""Attention roll-out: how much of each patch arrives, over all blocks, in what a plain ViT's head reads.

Abnar, Zuidema, "Quantifying Attention Flow in Transformers", 2020. It says what was read, not for which answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import ModelError, Problem
from espalier.explainer.layers import Layout, layout_of, watching, with_gradients
from espalier.tasks.base import ExplainTarget


def attentions(model: nn.Module) -> dict[str, nn.Module]:
    """The modules whose attention can be watched: they can do without the fused operator, and drop out what it gives.

    That is how timm writes its ViTs, and what another model may do to be asked as well.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(getattr(module, "fused_attn", None), bool)
        and isinstance(getattr(module, "attn_drop", None), nn.Module)
    }


def rollout(
    model: nn.Module, inputs: Mapping[str, Tensor], target: ExplainTarget, *, input_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """The map (h, w) of one picture; the shares of all tokens add up to 1. `model` is in evaluation mode.

    Raises ModelError for a model that is no plain ViT: without such attention, or with another number of tokens from
    one block to the next.
    """
    seen, last = _watched(model, inputs, target)
    layout = _checked(seen, last[0].shape[1], input_hw)
    read_N = _read(*last)
    share_N = rolled([matrix_BHNN[0].mean(dim=0).double() for matrix_BHNN in seen], read_N)
    grid = share_N[layout.prefix :].reshape(layout.grid_hw)
    return np.asarray(grid.float().cpu().numpy(), np.float32)


def rolled(attention: Sequence[Tensor], read_N: Tensor) -> Tensor:
    """(N,) the share of each token in the tokens read, through all blocks: half of each is attention, half itself."""
    share_N = read_N / read_N.sum()
    for matrix_NN in reversed(attention):
        mixed_NN = 0.5 * matrix_NN + 0.5 * torch.eye(len(matrix_NN), dtype=matrix_NN.dtype, device=matrix_NN.device)
        share_N = share_N @ (mixed_NN / mixed_NN.sum(dim=1, keepdim=True))
    return share_N


def _watched(
    model: nn.Module, inputs: Mapping[str, Tensor], target: ExplainTarget
) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
    """The attention (1, heads, N, N) of each block in order, and the last block's tokens with the gradient they get."""
    modules = attentions(model)
    blocks = {name.rpartition(".")[0] for name in modules}
    seen: list[Tensor] = []
    tokens: list[Tensor] = []

    def keep(name: str, module: nn.Module, tensor: Tensor) -> None:
        if name in blocks and tensor.ndim == 3:
            tokens.append(tensor)

    with torch.enable_grad(), _unfused(modules.values(), seen), watching(model, keep):
        outputs = model(**with_gradients(inputs))
        activation = target.activation(outputs).sum()
    if not seen or not tokens:
        raise _no_vit("no block of it attends over the tokens of the picture")
    (gradient,) = torch.autograd.grad(activation, tokens[-1], allow_unused=True)
    return seen, (tokens[-1], torch.zeros_like(tokens[-1]) if gradient is None else gradient)


@contextmanager
def _unfused(modules: Any, seen: list[Tensor]) -> Iterator[None]:
    """Inside, attention is computed step by step, and `seen` gets each matrix before its dropout."""

    def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
        matrix = args[0]
        if matrix.ndim == 4 and matrix.shape[2] > 1:  # a single row pools the tokens, after the last block
            seen.append(matrix.detach())

    listed = list(modules)
    before = [module.fused_attn for module in listed]
    handles = [module.attn_drop.register_forward_pre_hook(keep) for module in listed]
    try:
        for module in listed:
            module.fused_attn = False
        yield
    finally:
        for module, fused, handle in zip(listed, before, handles, strict=True):
            module.fused_attn = fused
            handle.remove()


def _checked(seen: list[Tensor], count: int, input_hw: tuple[int, int]) -> Layout:
    """How the last block's tokens lie in the picture, once every block attends over all of them."""
    if any(tuple(matrix.shape[2:]) != (count, count) or matrix.shape[0] != 1 for matrix in seen):
        raise _no_vit("its blocks do not attend over all tokens of the picture")
    layout = layout_of((1, count, 1), input_hw)
    if layout is None:
        raise _no_vit("its tokens are no grid over the picture")
    return layout


def _read(token_BNC: Tensor, gradient_BNC: Tensor) -> Tensor:
    """(N,) 1 for each token of the last block that the head reads: the class token, or all that are pooled."""
    read_N = gradient_BNC[0].abs().sum(dim=1) > 0
    if not read_N.any():
        raise ModelError("the answer does not depend on the last block's tokens, so nothing can be rolled out")
    return read_N.to(torch.float64)


def _no_vit(why: str) -> ModelError:
    fits = "roll-out fits plain ViTs alone; gradcam, rise and features fit this model"
    return ModelError(Problem("explain.maps", f"there is no attention to roll out: {why}", fits))
