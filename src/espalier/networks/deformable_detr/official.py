"""Deformable DETR's published models: names, and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from espalier.errors import ModelError
from espalier.networks.deformable_detr.model import build
from espalier.networks.deformable_detr.spec import DeformableDetrSpec
from espalier.networks.published import Family, Probe, original_loss, original_values
from espalier.networks.published_names import Code, mmdetection_head, renamed

if TYPE_CHECKING:
    from espalier.networks.object_queries_spec import ObjectQueriesSpec

_OWN = {
    "original": (
        (r"query\.(.*)", r"query_embed.\1"),
        (r"reference\.(.*)", r"transformer.reference_points.\1"),
        (r"two_stage\.output\.(.*)", r"transformer.enc_output.\1"),
        (r"two_stage\.output_norm\.(.*)", r"transformer.enc_output_norm.\1"),
        (r"two_stage\.query\.(.*)", r"transformer.pos_trans.\1"),
        (r"two_stage\.query_norm\.(.*)", r"transformer.pos_trans_norm.\1"),
    ),
    "mmdetection": (
        (r"query\.(.*)", r"query_embedding.\1"),
        (r"reference\.(.*)", r"reference_points_fc.\1"),
        (r"two_stage\.output\.(.*)", r"memory_trans_fc.\1"),
        (r"two_stage\.output_norm\.(.*)", r"memory_trans_norm.\1"),
        (r"two_stage\.query\.(.*)", r"pos_trans_fc.\1"),
        (r"two_stage\.query_norm\.(.*)", r"pos_trans_norm.\1"),
    ),
}
_HEADS = re.compile(r"decoder\.(class|box)_heads\.(\d+)\.(.*)")
_PUBLISHED_HEAD = {"class": "class_embed", "box": "bbox_embed"}


def names(own: str, spec: ObjectQueriesSpec, code: Code) -> Sequence[str]:
    """Published names of a tensor that is Deformable DETR's own; none for the shared ones."""
    head = _HEADS.fullmatch(own)
    if head is not None:
        return _heads(head[1], int(head[2]), head[3], spec, code)
    if code == "detrex" and own.startswith("query."):
        return [own.replace("query.", "query_embedding.", 1)]
    found = renamed(own, _OWN["original" if code == "detrex" else code])
    return [] if found is None else [found]


def _heads(kind: str, number: int, rest: str, spec: Any, code: Code) -> Sequence[str]:
    """Without refinement one head is saved once a layer. With it the decoder lists box heads too, in two stages all."""
    places = [number] if spec.refine else range(spec.decoder_layers)
    if code == "mmdetection":
        return [mmdetection_head(kind, place, rest) for place in places]
    twice = spec.refine and (kind == "box" or spec.two_stage)
    prefixes = ("transformer.decoder.", "") if twice else ("",)
    return [f"{prefix}{_PUBLISHED_HEAD[kind]}.{place}.{rest}" for place in places for prefix in prefixes]


def settings(probe: Probe) -> Mapping[str, Any]:
    """What the tensors tell; the queries of two stages are in no tensor."""
    two_stage = probe.find("two_stage.output.weight") is not None
    first, second = (probe.find(f"decoder.class_heads.{n}.weight") for n in range(2))
    alike = first is not None and second is not None and torch.equal(first, second)
    queries = {} if two_stage else {"queries": probe.tensor("query.weight").shape[0]}
    return {"two_stage": two_stage, "refine": two_stage or not alike, **queries}


def arguments(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The network that `models.build_model` makes of these arguments. Raises ModelError for what can't be made."""
    if given.get("masks", False):
        raise ModelError("masks = True can't be made: the published mask head is none of this network's")
    if given.get("two_stage", False) and not given.get("with_box_refine", False):
        raise ModelError("two_stage without with_box_refine can't be made: the published code can't run it either")
    if given.get("position_embedding", "sine") not in ("sine", "v2"):
        raise ModelError(f"position_embedding = '{given['position_embedding']}' can't be made: it has to be 'sine'")
    return {
        **original_values(given),
        "finest_stride": 8 if given["num_feature_levels"] > 1 else 32,
        "refine": given.get("with_box_refine", False),
        "two_stage": given.get("two_stage", False),
        "loss": original_loss(given, class_weight=2.0),
    }


def _spec(values: Mapping[str, Any]) -> DeformableDetrSpec:
    return DeformableDetrSpec.model_validate(values)


FAMILY = Family(
    spec=_spec,
    build=build,
    own=names,
    settings=settings,
    arguments=arguments,
    class_head="decoder.class_heads.0.weight",
    preset="r50_50ep",
    own_part="decoder.class_heads.0.weight",
    lacks=("transformer.decoder.ref_point_head.layers.0.weight", "decoder.ref_point_head.layers.0.weight"),  # DINO's
)
