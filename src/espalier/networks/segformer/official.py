"""SegFormer's published models: names of NVlabs' files and of transformers', and the encoder that a file has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from espalier import backbones
from espalier.backbones.families.mit.official import from_transformers
from espalier.backbones.family import HouseFamily
from espalier.backbones.official import official_rule
from espalier.backbones.registry import families, find
from espalier.errors import ModelError, Problem
from espalier.networks.published_model import Published
from espalier.networks.segformer.class_names import CITYSCAPES_ROWS, class_names
from espalier.networks.segformer.model import build, maps_of
from espalier.networks.segformer.spec import SegformerSpec

BACKBONE, HEAD = "backbone.", "decode_head."
FUSE, CLASSIFY = f"{HEAD}linear_fuse.conv.weight", f"{HEAD}linear_pred.weight"
_COUNTERS = "num_batches_tracked"
_DECODER = (
    (r"decoder\.levels\.(\d+)\.", "linear_c{}.proj."),
    (r"decoder\.fuse\.", "linear_fuse.conv."),
    (r"decoder\.norm\.", "linear_fuse.bn."),
    (r"decoder\.classify\.", "linear_pred."),
)
_TRANSFORMERS = (  # of the decoder, before 5 and since
    (r"linear_(?:c|projections)\.(\d+)\.proj\.", "linear_c{}.proj."),
    (r"linear_fuse\.(?=weight)", "linear_fuse.conv."),
    (r"batch_norm\.", "linear_fuse.bn."),
    (r"classifier\.", "linear_pred."),
)


def official_name(own: str, family: HouseFamily) -> str:
    """NVlabs' name of one of our tensors, with an encoder of that family."""
    if own.startswith(BACKBONE):
        return BACKBONE + official_rule(family)(own.removeprefix(BACKBONE))
    return HEAD + _renamed(own, _DECODER)


class SegformerFiles:
    """Reads files of NVlabs' SegFormer and FAN, and of transformers' SegFormer."""

    def code(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Which of the codes wrote the tensors."""
        named = _as_nvlabs(tensors)
        if FUSE not in named or CLASSIFY not in named:
            return None
        return "NVlabs" if FUSE in tensors else "transformers"

    def read(
        self, tensors: Mapping[str, Tensor], arguments: Mapping[str, Any], *, backbone: str | None = None
    ) -> Published:
        """The model of a file; its encoder is the one whose tensors the file has, or the one that is named."""
        code = self.code(tensors)
        if code is None:
            raise ModelError("the tensors are no published model of this network")
        named = _as_nvlabs(tensors)
        encoder = backbones.describe(backbone).name if backbone else encoder_of(named)
        rows, width = named[CLASSIFY].shape[0], named[FUSE].shape[0]
        classes = class_names(rows)
        values = {"backbone": {"name": encoder, "weights": "none"}, "width": width}
        with torch.device("meta"):
            model = build(SegformerSpec.model_validate(values), classes)
        taken, left = _taken(named, model, encoder)
        return Published(values, classes, taken, code, left, _preset(encoder, rows))


FAMILY = SegformerFiles()


def encoder_of(named: Mapping[str, Tensor]) -> str:
    """The house's encoder whose dense maps need the tensors that the file has. Raises ModelError where none does."""
    numbers = sum(tensor.numel() for name, tensor in named.items() if name.startswith(BACKBONE))
    of_house = [(family, name) for family in families() if isinstance(family, HouseFamily) for name in family.names()]
    nearest = sorted(of_house, key=lambda each: abs(each[0].facts(each[1]).params - numbers))
    for family, name in nearest:
        wanted = _encoder_shapes(family, name)
        if all(official in named and named[official].shape == shape for official, shape in wanted.items()):
            return name
    what = "its encoder is none that published segmenters have"
    raise ModelError(Problem("", what, "a MiT, a FAN or a GC-ViT", "name it: --backbone NAME"))


def _encoder_shapes(family: HouseFamily, name: str) -> dict[str, torch.Size]:
    with torch.device("meta"):
        encoder = family.build(name, channels_in=3, out=maps_of(family.facts(name)), size_hw=None)
    own_shapes = {own: value.shape for own, value in encoder.state_dict().items() if not own.endswith(_COUNTERS)}
    return {official_name(f"{BACKBONE}{own}", family): shape for own, shape in own_shapes.items()}


def _taken(named: Mapping[str, Tensor], model: nn.Module, encoder: str) -> tuple[dict[str, Tensor], Sequence[str]]:
    """The tensors under our names, and what the file has beyond them. Raises ModelError for what lacks or differs."""
    family = find(encoder)[0]
    if not isinstance(family, HouseFamily):
        raise ModelError(Problem("", f"published names of {encoder} are not known", "a MiT, a FAN or a GC-ViT"))
    state = {own: value for own, value in model.state_dict().items() if not own.endswith(_COUNTERS)}
    names = {own: official_name(own, family) for own in state}
    wrong = [name for own, name in names.items() if name not in named or named[name].shape != state[own].shape]
    if wrong:
        what = f"{len(wrong)} of {len(names)} tensors are missing or of another shape: {', '.join(wrong[:3])}"
        raise ModelError(Problem("", what, f"a segformer on {encoder}"))
    used, computed = set(names.values()), (*family.derived, _COUNTERS)
    left = [name for name in named if name not in used and not name.endswith(computed)]
    return {own: named[name] for own, name in names.items()}, left


def _preset(encoder: str, rows: int) -> str:
    """The preset whose input is that of the published model; of FAN, that of a MiT on the same data."""
    size = encoder.removeprefix("mit_") if encoder.startswith("mit_") else "b0"
    if rows == CITYSCAPES_ROWS:
        return f"segformer_{size}_city_1024"
    return f"segformer_{size}_ade_{640 if size == 'b5' else 512}"


def _as_nvlabs(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors of transformers under NVlabs' names; others as they are."""
    named = from_transformers(tensors)
    if named is tensors:
        return tensors
    return {_of_head(name) if name.startswith(HEAD) else f"{BACKBONE}{name}": t for name, t in named.items()}


def _of_head(name: str) -> str:
    return HEAD + _renamed(name.removeprefix(HEAD), _TRANSFORMERS)


def _renamed(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """By the first rule that knows the name's start; levels count from 1 there."""
    for pattern, start in rules:
        match = re.match(pattern, name)
        if match:
            return start.format(*(int(number) + 1 for number in match.groups())) + name[match.end() :]
    return name
