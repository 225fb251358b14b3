"""A published file's model, and what a network offers that can read such files. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Published:
    """A file's model: values of `spec.network`, class names in the order of the rows, and tensors under our names."""

    network: Mapping[str, Any]
    classes: Sequence[str]
    tensors: Mapping[str, Tensor]
    code: str  # that wrote the tensors
    left: Sequence[str]  # names of the file that our network has no tensor for
    preset: str  # whose input is that of the published model


class Reader(Protocol):
    """What a card's `official` names."""

    def code(self, tensors: Mapping[str, Tensor]) -> str | None:
        """The code that wrote the tensors, None where they are no model of this network."""

    def read(
        self, tensors: Mapping[str, Tensor], arguments: Mapping[str, Any], *, backbone: str | None = None
    ) -> Published:
        """The model of a file. Raises ModelError where tensors lack, differ, or are told twice with other values."""
