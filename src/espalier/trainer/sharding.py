"""Weights that are shared out over devices (FSDP2), and the whole tensors that checkpoints and validation need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

_SMALLEST_SHARD = 1_000_000  # parameters: less is gathered with its parent


def shard(module: nn.Module, mesh: Any) -> nn.Module:
    """`module` with its large blocks, then itself, sharded over the mesh's data-parallel devices."""
    from torch.distributed.fsdp import fully_shard

    for block in _blocks(module):
        fully_shard(block, mesh=mesh["data_parallel"])
    fully_shard(module, mesh=mesh["data_parallel"])
    return module


def whole(tensor: Any) -> Tensor:
    """The tensor in one piece. For a shared one every rank must ask: they gather it together."""
    found: Tensor = tensor.full_tensor() if _is_shared(tensor) else tensor
    return found


def own_part(tensor: Any) -> Tensor:
    """What this rank holds of the tensor."""
    found: Tensor = tensor.to_local() if _is_shared(tensor) else tensor
    return found


def copy_whole(into: Tensor, source: Tensor) -> None:
    """Put the whole `source` into `into`, which may be shared out; layout and device stay."""
    if not _is_shared(into):
        into.detach().copy_(source)
        return
    from torch.distributed.tensor import distribute_tensor

    placed: Any = into
    shared = distribute_tensor(source.to(placed.device), placed.device_mesh, placed.placements)
    into.detach().copy_(shared)


def _is_shared(tensor: Any) -> bool:
    """Asked without importing torch.distributed.tensor, which not every build of torch has."""
    return isinstance(tensor, Tensor) and hasattr(tensor, "device_mesh")


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Members of lists and sequences with many parameters, inner ones first."""
    for child in module.children():
        yield from _blocks(child)
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and _count(child) >= _SMALLEST_SHARD:
            yield child


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if not _is_shared(p))


def all_finite(tensors: Iterator[Tensor]) -> bool:
    """Is every value that this rank holds finite?"""
    parts = [own_part(t.detach()) for t in tensors if t.is_floating_point()]
    norms = torch._foreach_norm([p for p in parts if p.numel()])
    return bool(torch.stack([norm.float() for norm in norms]).isfinite().all()) if norms else True
