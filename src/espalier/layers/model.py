"""What a trainable network is, and the batch it learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from espalier.errors import ModelError


@dataclass(frozen=True)
class Batch:
    """Named inputs (B first) and the task's targets; ragged targets are lists of B tensors."""

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Any]
    names: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Items in the batch."""
        return int(next(iter(self.inputs.values())).shape[0])

    def to(self, device: Any, *, non_blocking: bool = False) -> Batch:
        """The batch on `device`."""

        def move(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(device, non_blocking=non_blocking)
            return [move(v) for v in value] if isinstance(value, list) else value

        return Batch(
            {k: move(v) for k, v in self.inputs.items()},
            {k: move(v) for k, v in self.targets.items()},
            self.names,
            self.extra,
        )


class TrainableModel(nn.Module):
    """The base of every network. The same `forward` trains, evaluates and is exported."""

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Named raw outputs, batch first: exactly the exported graph."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Scalar losses by name; 'total' is minimised."""
        raise NotImplementedError(f"{type(self).__name__} must define losses")

    def checkpoint_activations(self, on: bool) -> None:
        """The encoder's activations are computed again in the backward pass, not kept: less memory, slower.

        Raises ModelError where there is no encoder, or one that can't.
        """
        encoder: Any = getattr(self, "backbone", None)
        if not hasattr(encoder, "checkpoint_activations"):
            raise ModelError(f"{type(self).__name__} has no encoder that could")
        encoder.checkpoint_activations(on)

    def parameter_groups(self) -> dict[str, list[str]]:
        """Group name → prefixes of parameter names. 'backbone' gets `train.backbone_lr_ratio`, 'slow'
        `train.slow_lr_ratio`; the rest the base."""
        return {"backbone": ["backbone."]}

    def head_prefixes(self) -> tuple[str, ...]:
        """Prefixes of the tensors with a row a class: `start_from` keeps the rows of classes that both models have."""
        return ()

    def part_prefixes(self) -> tuple[str, ...]:
        """Prefixes of the parts that another model of the network may lack: then `start_from` leaves them new."""
        return ()

    def any_object_prefixes(self) -> tuple[str, ...]:
        """Prefixes among these whose first row stands for an object of any class, so that it is always kept."""
        return ()
