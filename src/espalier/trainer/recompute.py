"""The wish `train.activation_checkpointing`, put to a model."""

from __future__ import annotations

from espalier.errors import ModelError, Problem, SpecError
from espalier.layers.model import TrainableModel


def recompute_activations(model: TrainableModel, on: bool) -> None:
    """Switches it on or off. Raises SpecError with the field's name for a model that can't."""
    try:
        model.checkpoint_activations(on)
    except ModelError as error:
        fix = "leave it false, or choose another encoder"
        raise SpecError(Problem("train.activation_checkpointing", str(error), fix=fix)) from None
