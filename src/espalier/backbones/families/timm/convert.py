"""Published tensors under timm's names: by name, else by order when all shapes agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import timm
import torch
from torch import Tensor

from espalier.backbones.converted import ConvertedTensors
from espalier.backbones.families.timm.model import COUNTERS, PREFIX
from espalier.errors import ModelError, Problem


def convert(tensors: Mapping[str, Tensor], name: str) -> ConvertedTensors:
    """A file's tensors under timm's names for this encoder.

    They go by name when the file has every name of the encoder in its shape; else by their order, when they are as
    many as the whole published model has and all shapes agree. Counters of batch norms are left out: some files lack
    them. Raises ModelError, with the first differences, when neither fits.
    """
    given = {name: tensor for name, tensor in tensors.items() if not name.endswith(COUNTERS)}
    wanted = _shapes(name, classes=0)
    if all(name in given and _fits(name, given[name], shape) for name, shape in wanted.items()):
        _refuse_more(given, wanted, name)
        return _split(given, wanted, "name")
    ordered = _by_order(given, name)
    if ordered is not None:
        return _split(ordered, wanted, "order")
    raise ModelError(_mismatch(given, wanted, name))


def _refuse_more(given: Mapping[str, Tensor], wanted: Mapping[str, object], name: str) -> None:
    """A deeper encoder of the same widths has every tensor of a shallower one, and more. Raises ModelError for it."""
    parts = {wanted_name.partition(".")[0] for wanted_name in wanted}
    more = [n for n in given if n not in wanted and n.partition(".")[0] in parts]
    if more:
        head = _shapes(name, classes=1)  # a part may hold the classifier too, e.g. head.norm beside head.fc
        more = [n for n in more if n not in head]
    if more:
        what = f"the {len(given)} tensors hold all of {name}, and more: they are of a larger encoder"
        raise ModelError(Problem("", what, f"not of it: {', '.join(more[:2])}"))


def _shapes(name: str, *, classes: int) -> dict[str, torch.Size]:
    architecture = name.removeprefix(PREFIX)
    with torch.device("meta"):
        model = timm.create_model(architecture, pretrained=False, num_classes=classes)
    return {name: value.shape for name, value in model.state_dict().items() if not name.endswith(COUNTERS)}


def _fits(name: str, tensor: Tensor, shape: torch.Size) -> bool:
    """Equal shapes; a position embedding may have been trained at another size."""
    return tensor.shape == shape or (name == "pos_embed" and tensor.shape[-1] == shape[-1])


def _by_order(given: Mapping[str, Tensor], name: str) -> dict[str, Tensor] | None:
    """The tensors renamed in the order of the published model, or None when a shape or the number differs."""
    for classes in {_classes(given), 0}:
        wanted = _shapes(name, classes=classes)
        if [tuple(t.shape) for t in given.values()] == [tuple(shape) for shape in wanted.values()]:
            return dict(zip(wanted, given.values()))
    return None


def _classes(given: Mapping[str, Tensor]) -> int:
    """The classes of a published classifier: rows of the last tensor, its bias."""
    last = list(given.values())[-1]
    return int(last.shape[0]) if last.ndim == 1 else 0


def _split(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, object], how: Literal["name", "order"]
) -> ConvertedTensors:
    encoder = {name: tensors[name] for name in wanted}
    return ConvertedTensors(encoder, {name: t for name, t in tensors.items() if name not in wanted}, how)


def _mismatch(given: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], name: str) -> Problem:
    missing = [name for name in wanted if name not in given]
    differing = [name for name in wanted if name in given and not _fits(name, given[name], wanted[name])]
    what = f"the {len(given)} tensors don't fit the {len(wanted)} of {name}"
    first = [f"{name} is missing" for name in missing[:2]]
    first += [f"{name} is {tuple(given[name].shape)}, not {tuple(wanted[name])}" for name in differing[:2]]
    return Problem("", what, "; ".join(first))
