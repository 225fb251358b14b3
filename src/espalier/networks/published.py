"""A published detector with object queries: its settings read off its tensors, and these under our names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from espalier.errors import ModelError, Problem
from espalier.layers.matching import ALPHA
from espalier.networks.coco_names import class_names
from espalier.networks.published_backbone import BY_ARGUMENT, backbone_of, is_resnet, is_swin
from espalier.networks.published_model import Published
from espalier.networks.published_names import CODES, LEVEL_EMBED, SHARED, Code, of_backbone, of_projection, renamed

if TYPE_CHECKING:
    from espalier.networks.object_queries_spec import ObjectQueriesSpec

HEADS = 8  # of attention; no tensor tells
FINEST_STRIDE = {4: 4, 3: 8, 2: 16, 1: 32}  # by the maps that are taken of the backbone
_COUNTERS = "num_batches_tracked"

Own = Callable[[str, "ObjectQueriesSpec", Code], Sequence[str]]
"""Published names of one of our tensors beyond the shared ones, none for a tensor that it doesn't know."""


@dataclass(frozen=True)
class Family:
    """What a network says of its published models.

    `own` names its own parts; `settings` gives the network's values beyond the shared ones, from tensors (by our names,
    as far as they need no settings) and from the arguments that the original codes keep in a file.
    """

    spec: Callable[[Mapping[str, Any]], Any]  # values → the network's spec
    build: Callable[[Any, Sequence[str]], nn.Module]
    own: Own
    settings: Callable[[Probe], Mapping[str, Any]]
    arguments: Callable[[Mapping[str, Any]], Mapping[str, Any]]  # of the original code → the network's values
    class_head: str  # one of our names whose rows are the classes
    preset: str  # whose input is that of the published models
    own_part: str  # one of our names that its tensors have

    lacks: Sequence[str] = ()  # published names that relatives have, which share all others

    def code(self, tensors: Mapping[str, Tensor]) -> Code | None:
        """The code that wrote the tensors, None where they are no model of this network."""
        code = next((c for c in CODES if LEVEL_EMBED[c] in tensors), None)
        if code is None or any(name in tensors for name in self.lacks):
            return None
        return code if Probe(tensors, {}, code, self).find(self.own_part) is not None else None

    def names(self, own: str, spec: ObjectQueriesSpec, code: Code) -> Sequence[str]:
        """Published names of one of our tensors, the one that holds it first."""
        if own.startswith("backbone.body."):
            return [of_backbone(own, code, swin=is_swin(spec.backbone.name))]
        if own.startswith("levels.projections."):
            return [of_projection(own, code, _taken(spec))]
        found = self.own(own, spec, code)
        if found:
            return found
        shared = renamed(own, SHARED[code])
        return [] if shared is None else [shared]

    def read(
        self, tensors: Mapping[str, Tensor], arguments: Mapping[str, Any], *, backbone: str | None = None
    ) -> Published:
        """The model of a file. Raises ModelError where tensors lack, differ, or are told twice with other values."""
        code = self.code(tensors)
        if code is None:
            raise ModelError("the tensors are no published model of this network")
        probe = Probe(tensors, arguments, code, self)
        values = {**probe.shared(backbone), **self.settings(probe)}
        if code == "original" and arguments:
            values |= self.arguments(arguments)
        if backbone is not None:
            values["backbone"] = {**values["backbone"], "name": backbone}
        spec = self.spec(values)
        _check_backbone(spec.backbone.name)
        classes = class_names(probe.tensor(self.class_head).shape[0])
        return self._converted(tensors, spec, values, classes, code)

    def _converted(
        self,
        tensors: Mapping[str, Tensor],
        spec: ObjectQueriesSpec,
        values: Mapping[str, Any],
        classes: Sequence[str],
        code: Code,
    ) -> Published:
        with torch.device("meta"):
            wanted = self.build(spec, classes).state_dict()
        names = {own: self.names(own, spec, code) for own in wanted if not own.endswith(_COUNTERS)}
        taken = {own: _one_of(tensors, own, given, wanted[own].shape, code) for own, given in names.items()}
        missing = [own for own, value in taken.items() if value is None]
        if missing:
            some = ", ".join(names[own][0] if names[own] else own for own in missing[:3])
            what = f"{len(missing)} of {len(wanted)} tensors are missing or of another shape: {some}"
            raise ModelError(Problem("", what, f"a model of {spec.name} on {spec.backbone.name}"))
        used = {name for given in names.values() for name in given}
        left = [n for n in tensors if n not in used and not n.endswith((_COUNTERS, "relative_position_index"))]
        own = {name: tensor for name, tensor in taken.items() if tensor is not None}
        return Published(values, classes, own, code, left, self.preset)


@dataclass(frozen=True)
class Probe:
    """Tensors of a file by our names, before the settings are known."""

    tensors: Mapping[str, Tensor]
    arguments: Mapping[str, Any]
    code: Code
    family: Family

    def find(self, own: str) -> Tensor | None:
        """The tensor, where its published name needs no settings."""
        names = self.family.own(own, _NOTHING, self.code) or [renamed(own, SHARED[self.code]) or ""]
        return next((self.tensors[name] for name in names if name in self.tensors), None)

    def tensor(self, own: str) -> Tensor:
        """The tensor. Raises ModelError where it is missing."""
        found = self.find(own)
        if found is None:
            raise ModelError(f"the file lacks what would be {own} here")
        return found

    def count(self, own: str) -> int:
        """How many of `own` there are, `{}` their number."""
        number = 0
        while self.find(own.format(number)) is not None:
            number += 1
        return number

    def shared(self, backbone: str | None) -> dict[str, Any]:
        """The values that all detectors with object queries have."""
        levels, width = self.tensor("levels.level_embed").shape
        heads = int(self.arguments.get("nheads", HEADS))
        given = self._given(levels)
        return {
            "backbone": {"name": backbone or backbone_of(self.tensors, self.code), "weights": "none"},
            "levels": levels,
            "finest_stride": FINEST_STRIDE[given],
            "width": width,
            "heads": heads,
            "hidden": self.tensor("encoder.layers.0.ffn.linear1.weight").shape[0],
            "encoder_layers": self.count("encoder.layers.{}.norm1.weight"),
            "decoder_layers": self.count("decoder.layers.{}.norm1.weight"),
            "encoder_points": self._points("encoder.layers.0.self_attn", heads, levels),
            "decoder_points": self._points("decoder.layers.0.cross_attn", heads, levels),
        }

    def _given(self, levels: int) -> int:
        """Maps of the backbone: their projections are 1 × 1."""
        if self.code == "original":
            kernels = [self.tensor(f"levels.projections.{n}.0.weight").shape[2] for n in range(levels)]
            return kernels.count(1)
        return sum(f"neck.convs.{n}.conv.weight" in self.tensors for n in range(levels))

    def _points(self, attention: str, heads: int, levels: int) -> int:
        points, rest = divmod(self.tensor(f"{attention}.attention_weights.weight").shape[0], heads * levels)
        if rest:
            raise ModelError(f"{attention} doesn't fit {heads} heads on {levels} levels")
        return points


class _Nothing:
    """Stands in for settings that are not known yet: names that need them are not asked."""

    share_class_head = share_box_head = False
    encoder_class_head = encoder_box_head = refine = True
    two_stage = False
    decoder_layers = 0


_NOTHING: Any = _Nothing()


def original_loss(given: Mapping[str, Any], *, class_weight: float) -> Mapping[str, float]:
    """Weights and matching costs by the arguments that both original repositories share."""
    return {
        "class_weight": given.get("cls_loss_coef", class_weight),
        "l1_weight": given.get("bbox_loss_coef", 5.0),
        "giou_weight": given.get("giou_loss_coef", 2.0),
        "class_cost": given.get("set_cost_class", 2.0),
        "l1_cost": given.get("set_cost_bbox", 5.0),
        "giou_cost": given.get("set_cost_giou", 2.0),
    }


def original_values(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The shared values of the network that the original codes build with these arguments.

    Raises ModelError for an encoder or a setting that there is none of here.
    """
    if arguments.get("focal_alpha", ALPHA) != ALPHA:
        raise ModelError(f"focal_alpha = {arguments['focal_alpha']} can't be made: it has to be {ALPHA}")
    backbone = BY_ARGUMENT.get(str(arguments["backbone"]))
    if backbone is None:
        known = ", ".join(BY_ARGUMENT)
        raise ModelError(Problem("", f"the encoder '{arguments['backbone']}' has no published names here", known))
    dilated = bool(arguments.get("dilation", False))
    if dilated and is_swin(backbone):
        raise ModelError(Problem("", "a dilated Swin can't be made", "dilation with a ResNet"))
    return {
        "backbone": {"name": backbone, "weights": "none", "dilation": dilated},
        "queries": arguments["num_queries"],
        "levels": arguments["num_feature_levels"],
        "width": arguments["hidden_dim"],
        "hidden": arguments["dim_feedforward"],
        "heads": arguments["nheads"],
        "encoder_points": arguments["enc_n_points"],
        "decoder_points": arguments["dec_n_points"],
        "encoder_layers": arguments["enc_layers"],
        "decoder_layers": arguments["dec_layers"],
        "dropout": arguments.get("dropout", 0.0),
    }


def _check_backbone(name: str) -> None:
    if not (is_swin(name) or is_resnet(name)):
        raise ModelError(Problem("", f"published names of {name} are not known", "a ResNet or a Swin"))


def _taken(spec: ObjectQueriesSpec) -> int:
    """How many of the levels are maps of the backbone."""
    stages = {stride: number for number, stride in FINEST_STRIDE.items()}
    return min(stages[spec.finest_stride], spec.levels)


def _one_of(
    tensors: Mapping[str, Tensor], own: str, names: Sequence[str], shape: torch.Size, code: Code
) -> Tensor | None:
    """The tensor by the first of its names that the file has; None where it has none that fits.

    Raises ModelError where two names of one tensor hold different values.
    """
    found = [name for name in names if name in tensors]
    if not found:
        return torch.zeros(shape) if re.fullmatch(r"levels\.projections\.\d+\.0\.bias", own) else None
    first = tensors[found[0]]
    differing = [name for name in found[1:] if not torch.equal(tensors[name], first)]
    if differing:
        raise ModelError(f"{found[0]} and {differing[0]} are one tensor here, and hold different values")
    fitted = _rearranged(first, own, code)
    if own == "denoising.label.weight" and fitted.shape[0] == shape[0] - 1:
        fitted = torch.cat([fitted, fitted.new_zeros(1, shape[1])])  # the last row is never used, and some leave it out
    return fitted if fitted.shape == shape else None


def _rearranged(tensor: Tensor, own: str, code: Code) -> Tensor:
    """mmdetection merges a Swin's four patches channel by channel and row by row, the others patch by patch."""
    if code == "mmdetection" and re.search(r"\.downsample\.(norm|reduction)\.", own):
        by_patch = tensor.reshape(*tensor.shape[:-1], -1, 4)[..., [0, 2, 1, 3]]
        return by_patch.transpose(-1, -2).flatten(-2)
    return tensor
