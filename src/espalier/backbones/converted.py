"""A published weight file read for an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ConvertedTensors:
    """Published tensors under the encoder's own names; `head` is what the file has beyond the encoder, in its names."""

    encoder: Mapping[str, Tensor]
    head: Mapping[str, Tensor] = field(default_factory=dict)
    how: str = "name"  # by what the tensors were told apart
