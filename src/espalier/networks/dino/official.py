"""DINO's published models: names, and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from espalier.errors import ModelError
from espalier.networks.dino.model import build
from espalier.networks.dino.spec import DinoSpec
from espalier.networks.published import Family, Probe, original_loss, original_values
from espalier.networks.published_names import Code, mmdetection_head, renamed

if TYPE_CHECKING:
    from espalier.networks.object_queries_spec import ObjectQueriesSpec

_OWN = {
    "original": (
        (r"decoder\.norm\.(.*)", r"transformer.decoder.norm.\1"),
        (r"decoder\.position\.(.*)", r"transformer.decoder.ref_point_head.\1"),
        (r"selection\.output\.(.*)", r"transformer.enc_output.\1"),
        (r"selection\.output_norm\.(.*)", r"transformer.enc_output_norm.\1"),
        (r"selection\.class_head\.(.*)", r"transformer.enc_out_class_embed.\1"),
        (r"selection\.box_head\.(.*)", r"transformer.enc_out_bbox_embed.\1"),
        (r"selection\.content\.(.*)", r"transformer.tgt_embed.\1"),
        (r"denoising\.label\.(.*)", r"label_enc.\1"),
    ),
    "mmdetection": (
        (r"decoder\.norm\.(.*)", r"decoder.norm.\1"),
        (r"decoder\.position\.(.*)", r"decoder.ref_point_head.\1"),
        (r"selection\.output\.(.*)", r"memory_trans_fc.\1"),
        (r"selection\.output_norm\.(.*)", r"memory_trans_norm.\1"),
        (r"selection\.content\.(.*)", r"query_embedding.\1"),
        (r"denoising\.label\.(.*)", r"dn_query_generator.label_embedding.\1"),
    ),
}
_HEADS = re.compile(r"decoder\.(class|box)_heads\.(\d+)\.(.*)")
_PUBLISHED_HEAD = {"class": "class_embed", "box": "bbox_embed"}
# Where the published decoder can do what ours can't.
_REQUIRED = {
    "two_stage_type": "standard",
    "embed_init_tgt": True,
    "transformer_activation": "relu",
    "num_patterns": 0,
    "two_stage_learn_wh": False,
    "decoder_sa_type": "sa",
    "use_detached_boxes_dec_out": False,
    "two_stage_add_query_num": 0,
}
_GROUPS_BELOW = 50  # denoising: fewer queries are taken for groups


def names(own: str, spec: ObjectQueriesSpec, code: Code) -> Sequence[str]:
    """Published names of a tensor that is DINO's own; none for the shared ones."""
    head = _HEADS.fullmatch(own)
    if head is not None:
        return _heads(head[1], int(head[2]), head[3], spec, code)
    if code != "original":
        chosen = re.fullmatch(r"selection\.(class|box)_head\.(.*)", own)
        if chosen is not None:  # the encoder's head is the last of the list
            return _placed(chosen[1], [_encoder_place(spec)], chosen[2], code)
    found = renamed(own, _OWN["original" if code == "detrex" else code])
    return [] if found is None else [found]


def _heads(kind: str, number: int, rest: str, spec: Any, code: Code) -> Sequence[str]:
    """A head that all layers share is saved once a layer, and twice: the decoder lists the heads too."""
    shared = spec.share_class_head if kind == "class" else spec.share_box_head
    placed = _placed(kind, range(spec.decoder_layers) if shared else [number], rest, code)
    lent = not (spec.encoder_class_head if kind == "class" else spec.encoder_box_head)
    if code == "original" and lent:
        return [*placed, f"transformer.enc_out_{_PUBLISHED_HEAD[kind]}.{rest}"]
    return placed


def _placed(kind: str, places: Sequence[int], rest: str, code: Code) -> list[str]:
    if code == "mmdetection":
        return [mmdetection_head(kind, place, rest) for place in places]
    head = _PUBLISHED_HEAD[kind]
    return [f"{prefix}{head}.{place}.{rest}" for place in places for prefix in ("transformer.decoder.", "")]


def _encoder_place(spec: Any) -> int:
    return int(spec.decoder_layers)


def settings(probe: Probe) -> Mapping[str, Any]:
    """What the tensors tell. Other codes than the original don't share heads, and detrex has its own positions."""
    label = probe.find("denoising.label.weight")
    classes = probe.tensor("decoder.class_heads.0.weight").shape[0]
    values: dict[str, Any] = {
        "queries": probe.tensor("selection.content.weight").shape[0],
        "share_class_head": _alike(probe, "decoder.class_heads.{}.weight"),
        "share_box_head": _alike(probe, "decoder.box_heads.{}.layers.0.weight"),
        "denoising": {} if label is not None else {"queries": 0},
    }
    if label is not None and label.shape[0] > classes + 1:
        values["denoising"] = {"labels": label.shape[0] - 1}
    if probe.code == "detrex":
        values |= {"position_temperature": 10000.0, "centred_positions": True}
    return values


def _alike(probe: Probe, own: str) -> bool:
    """Do all layers hold the same head?"""
    layers = probe.count("decoder.layers.{}.norm1.weight")
    heads = [probe.tensor(own.format(n)) for n in range(layers)]
    return all(torch.equal(head, heads[0]) for head in heads[1:])


def arguments(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The network that `build_dino` makes of these arguments. Raises ModelError for one that there is none of here."""
    for name, wanted in _REQUIRED.items():
        if given.get(name, wanted) != wanted:
            raise ModelError(f"{name} = {given[name]!r} can't be made: it has to be {wanted!r}")
    if given.get("pe_temperatureH", 20) != given.get("pe_temperatureW", 20):
        raise ModelError("positions of two temperatures, pe_temperatureH and pe_temperatureW, can't be made")
    return {
        **original_values(given),
        "finest_stride": {4: 4, 3: 8, 1: 32}[len(given["return_interm_indices"])],
        "position_temperature": given.get("pe_temperatureH", 20),
        "share_class_head": given.get("dec_pred_class_embed_share", True),
        "share_box_head": given.get("dec_pred_bbox_embed_share", True),
        "encoder_class_head": not given.get("two_stage_class_embed_share", False),
        "encoder_box_head": not given.get("two_stage_bbox_embed_share", False),
        "detections": given.get("num_select", 300),
        "denoising": _denoising(given),
        "loss": original_loss(given, class_weight=1.0),
    }


def _denoising(given: Mapping[str, Any]) -> dict[str, Any]:
    """A `dn_number` of 50 or more is shared out among the boxes; a smaller one is half the number of groups."""
    number = given.get("dn_number", 100) if given.get("use_dn", True) else 0
    groups = 2 * number if 0 < number < _GROUPS_BELOW else 0
    return {
        "queries": number,
        "groups": groups,
        "box_noise": given.get("dn_box_noise_scale", 0.4),
        "label_noise": given.get("dn_label_noise_ratio", 0.5),
        "labels": given.get("dn_labelbook_size", 0),
    }


def _spec(values: Mapping[str, Any]) -> DinoSpec:
    return DinoSpec.model_validate(values)


FAMILY = Family(
    spec=_spec,
    build=build,
    own=names,
    settings=settings,
    arguments=arguments,
    class_head="decoder.class_heads.0.weight",
    preset="dino_r50_4scale_12ep",
    own_part="decoder.position.layers.0.weight",
)
