"""DINO with masks: what the graph gives, at any size and on padding, and what the decoder makes of it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from espalier.exporter.onnx import to_onnx
from espalier.exporter.parity import check_parity
from espalier.layers.model import Batch, TrainableModel
from espalier.layers.module_backend import ModuleBackend
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.networks.object_queries_card import match_outputs
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve
from espalier.spec.sections import NetworkSpec
from espalier.tasks import base as tasks
from espalier.vision.geometry import Geometry
from espalier.vision.masks import decode_rle

CLASSES = ("red", "green")
CARD = registry.get("dino")


@lru_cache(maxsize=4)
def outliner(**values: Any) -> tuple[NetworkSpec, TrainableModel]:
    asked = {"network": {"name": "dino", "preset": "tiny_masks", **values}}
    spec = resolve(load_spec(asked, lookup=registry.entry), Facts(n_train=2, classes=CLASSES))[0].network
    assert spec is not None
    torch.manual_seed(0)
    model: TrainableModel = cards.build(CARD, spec, CLASSES)
    return spec, model.eval()


def inputs(*valid_hw: tuple[int, int], size_hw: tuple[int, int]) -> dict[str, torch.Tensor]:
    image = torch.randn(len(valid_hw), 3, *size_hw, generator=torch.Generator().manual_seed(1))
    return {"image": image, "valid_hw": torch.tensor(valid_hw)}


def test_the_spec_says_which_task_and_which_decoder() -> None:
    spec, _ = outliner()
    assert CARD.task_of(spec) == "instance"
    assert CARD.decode(spec).name == "detr_masks"
    plain = CARD.spec.model_validate({"masks": False})
    assert (CARD.task_of(plain), CARD.decode(plain).name) == ("detection", "detr_sigmoid")


def test_what_the_padding_holds_changes_no_mask() -> None:
    model = outliner()[1]
    given = inputs((64, 60), (50, 96), size_hw=(64, 96))
    other = {**given, "image": given["image"].clone()}
    other["image"][0, :, :, 60:] = 9.0
    other["image"][1, :, 50:] = -3.0
    with torch.no_grad():
        one, two = (model(**each) for each in (given, other))
    assert one["mask_features"].shape == (2, 32, 16, 24)
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("size_hw", [(70, 97), (96, 75)])
def test_the_decoder_draws_what_the_map_holds_enlarged(size_hw: tuple[int, int]) -> None:
    """Of a picture whose sides are no multiples of four, so that the last cells reach beyond it."""
    spec, model = outliner()
    with torch.no_grad():
        outputs = model(**inputs(size_hw, size_hw=size_hw))
    logits = torch.einsum("qe,ehw->qhw", outputs["mask_kernels"][0], outputs["mask_features"][0])
    large = functional.interpolate(logits[None], scale_factor=4, mode="bilinear", align_corners=False)[0]
    outputs["boxes"] = torch.tensor([0.5, 0.5, 1.0, 1.0]).expand_as(outputs["boxes"])
    rule = CARD.decode(spec)
    decoder = tasks.get("instance").decoder(rule.name, rule.version)
    arrays = {name: value.numpy() for name, value in outputs.items()}
    (said,) = decoder(arrays, [Geometry.identity(size_hw)], CLASSES, rule.params)
    for query, mask in zip(said.query, said.mask, strict=True):
        drawn, expected = decode_rle(mask), large[int(query), : size_hw[0], : size_hw[1]].numpy()
        sure = np.abs(expected) > 1e-3
        assert np.array_equal(drawn[sure], expected[sure] > 0)


@pytest.mark.slow
def test_a_graph_of_free_size_gives_the_same_masks_at_an_odd_one(tmp_path: Path) -> None:
    model = outliner()[1]
    traced = {name: value.numpy() for name, value in inputs((96, 96), (80, 64), size_hw=(96, 96)).items()}
    to_onnx(model, traced, tmp_path / "model.onnx", dynamic_size=True)
    odd = {name: value.numpy() for name, value in inputs((75, 101), (60, 90), (75, 80), size_hw=(75, 101)).items()}
    backend = OnnxRuntimeBackend(tmp_path / "model.onnx", device="cpu")
    report = check_parity(ModuleBackend(model), backend, [odd], 1e-3, match_outputs)
    assert report.passed, dict(report.error)


def test_queries_that_change_places_take_their_kernels_along() -> None:
    rng = np.random.default_rng(0)
    shapes = {"logits": (1, 4, 2), "boxes": (1, 4, 4), "mask_kernels": (1, 4, 3), "mask_features": (1, 3, 2, 2)}
    expected = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    order = [2, 0, 3, 1]
    found = {name: value if name == "mask_features" else value[:, order] for name, value in expected.items()}
    matched = match_outputs(expected, found)
    assert all(np.array_equal(matched[name], expected[name]) for name in shapes)


@pytest.mark.parametrize("known", [(True, False), (False, False)])
def test_objects_without_an_outline_teach_boxes_alone(known: tuple[bool, bool]) -> None:
    _, model = outliner()
    mask = torch.zeros(2, 96, 96, dtype=torch.uint8)
    mask[0, :48] = 1
    targets = {
        "class_N": [torch.tensor([0, 1])],
        "box_N4": [torch.tensor([[0.5, 0.25, 1.0, 0.5], [0.5, 0.75, 1.0, 0.5]])],
        "mask_NHW": [mask],
        "masked_N": [torch.tensor(known)],
    }
    torch.manual_seed(0)
    losses = model.losses(Batch(inputs((96, 96), size_hw=(96, 96)), targets))
    assert torch.isfinite(losses["total"])
    assert (losses["mask"].item() > 0) == any(known)
