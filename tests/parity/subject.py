"""One of our networks, as a parity file sees it: official names, weights by rule, outputs and inner features."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from parity.documents import Output

FEATURE = "feature/"
Filled = Mapping[str, NDArray[np.float32]]
View = Callable[[Any, tuple[int, ...]], Tensor]


@dataclass(frozen=True)
class Feature:
    """Where an official inner output arises in our network, and how ours takes the official layout, given its shape."""

    module: str
    view: View


class Featured(Protocol):
    """A network whose inner outputs can be seen."""

    @property
    def module(self) -> nn.Module:
        """Ours."""

    def feature(self, name: str) -> Feature:
        """Of an official module. Raises CheckError for one that has no counterpart."""


class Subject(Featured, Protocol):
    """A network under test."""

    @property
    def official(self) -> Mapping[str, str]:
        """Our tensors' names to the official ones."""

    @property
    def derived(self) -> Mapping[str, tuple[int, ...]]:
        """Official names and shapes of the tensors that our network computes itself."""

    @property
    def noise(self) -> Sequence[re.Pattern[str]]:
        """Official parameters whose gradient is zero by mathematics."""

    def load(self, filled: Filled) -> None:
        """Takes official tensors the way the product loads a published file."""

    def outputs(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        """The outputs by the file's keys."""


@contextmanager
def captured(subject: Featured, outputs: Mapping[str, Output]) -> Iterator[dict[str, Tensor]]:
    """Filled by a forward pass inside it: each described feature in the official layout, by its key."""
    seen: dict[str, Tensor] = {}

    def keep(key: str, feature: Feature) -> Callable[..., None]:
        def hook(_module: nn.Module, _given: Any, gives: Any) -> None:
            seen[key] = feature.view(gives, outputs[key].shape).detach()

        return hook

    asked = {key: subject.feature(key.removeprefix(FEATURE)) for key in outputs if key.startswith(FEATURE)}
    module_of = subject.module.get_submodule
    handles = [module_of(feature.module).register_forward_hook(keep(key, feature)) for key, feature in asked.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
