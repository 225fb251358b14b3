"""Which way deformable attention is computed: standard operators, rows of a table on a CPU, or a fused kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from espalier.layers.deformable_attention_cpu import cpu_attention
from espalier.layers.deformable_attention_standard import standard_attention

Way = Callable[..., Tensor]


def way_for(value_BNHD: Tensor, locations_BQHLP2: Tensor) -> Way:
    """Standard operators wherever a graph is being written down, and on a device that has no faster way."""
    if _traced(value_BNHD):
        return standard_attention
    if value_BNHD.device.type == "cpu":
        return cpu_attention
    return standard_attention


def _traced(tensor: Tensor) -> bool:
    """Is it a stand-in of an exporter, a compiler or a tracer, that has no numbers?"""
    compiling: bool = torch.compiler.is_compiling()
    tracing = torch._C._get_tracing_state() is not None
    return compiling or tracing or type(tensor) not in (Tensor, torch.nn.Parameter)
