"""Detectors on padded batches: what the padding holds changes nothing, and pictures of any size share a bundle."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import espalier
from espalier.bundle.manifest import Decode, Provenance
from espalier.exporter.make import Subject, make_bundle
from espalier.layers.model import TrainableModel
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.networks.dino.spec import DinoSpec
from espalier.networks.object_queries_card import least_side_px
from espalier.runtime.predictor import Predictor
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve
from espalier.spec.sections import NetworkSpec
from espalier.spec.verbs import ExportSpec
from espalier.tasks import base as tasks
from espalier.tasks.base import Annotations, ImageQuery, Sample
from espalier.vision.batch import stacked

CLASSES = ("red", "green", "blue")
WITH_QUERIES = ("dino", "deformable_detr")
DETECTORS = (*WITH_QUERIES, "fcos")
INPUT = {"size_hw": [64, 96], "fit": "capped_edges"}


@lru_cache(maxsize=4)
def detector(name: str) -> tuple[NetworkSpec, TrainableModel]:
    asked = {"network": {"name": name, "preset": "tiny", "input": INPUT}}
    spec = resolve(load_spec(asked, lookup=registry.entry), Facts(n_train=2, classes=CLASSES))[0].network
    assert spec is not None
    torch.manual_seed(0)
    model: TrainableModel = cards.build(registry.get(name), spec, CLASSES)
    return spec, model.eval()


def sample(number: int, size_hw: tuple[int, int]) -> Sample:
    rng = np.random.default_rng(number)
    image = rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8)
    labels = Annotations(np.array([number % 3]), np.array([[5, 5, 30, 30]], np.float32), np.zeros(1, bool))
    return tasks.get("detection").sample(ImageQuery(image), labels, CLASSES, name=str(number), group=str(number))


@pytest.mark.parametrize("name", DETECTORS)
def test_what_the_padding_holds_changes_nothing(name: str) -> None:
    _, model = detector(name)
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    valid_hw = torch.tensor([[64, 60], [50, 96]])
    other = image.clone()
    other[0, :, :, 60:] = 9.0
    other[1, :, 50:] = -3.0
    with torch.no_grad():
        one, two = (model(image=each, valid_hw=valid_hw) for each in (image, other))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.slow
def test_a_bundle_takes_pictures_of_any_shape(tmp_path: Path) -> None:
    """Gated, verified by golden pictures of different sizes, and as the model says in a padded batch."""
    spec, model = detector("deformable_detr")
    card = registry.get("deformable_detr")
    rule = card.decode(spec)
    subject = Subject(
        name="any-shape",
        card=card,
        model=model,
        task=tasks.get("detection"),
        classes=CLASSES,
        prepare=card.prepare(spec),
        decode=Decode(name=rule.name, version=rule.version, params=dict(rule.params)),
        licences=(),
        provenance=Provenance(network="deformable_detr"),
    )
    samples = [sample(n, size) for n, size in enumerate([(64, 64), (50, 100), (120, 40), (70, 90)])]
    options = ExportSpec(golden="images", golden_count=3, tolerance=2e-3, metric_tolerance=1.0)
    made = make_bundle(subject, samples, options, tmp_path / "bundle")  # type: ignore[arg-type]
    assert made.verified.passed
    loaded = espalier.load(tmp_path / "bundle")
    predictor: Predictor = loaded.predictor
    assert loaded.bundle.artifact().inputs[0].shape[2:] == (None, None)
    (batch, outputs) = next(predictor.raw([s.query for s in samples]))
    assert batch.inputs["image"].shape == (4, 3, 96, 96)
    assert {g.input_hw for g in batch.geometries} == {(96, 96)}
    found: list[Any] = predictor.decoded(batch, outputs)
    for prediction, each in zip(found, samples, strict=True):
        height, width = each.query.image_HWC.shape[:2]
        assert (prediction.box_xyxy >= 0).all()
        assert (prediction.box_xyxy <= (width, height, width, height)).all()


@pytest.mark.parametrize(
    ("queries", "levels", "finest", "side"), [(900, 4, 8, 208), (20, 2, 16, 64), (300, 1, 32, 576)]
)
def test_the_smallest_side_that_has_cells_enough(queries: int, levels: int, finest: int, side: int) -> None:
    spec = DinoSpec.model_validate({"queries": queries, "levels": levels, "finest_stride": finest})
    assert least_side_px(spec) == side


@pytest.mark.parametrize("name", WITH_QUERIES)
def test_a_thin_picture_has_room_for_the_queries(name: str) -> None:
    spec, model = detector(name)
    prepare = registry.get(name).prepare(spec)
    inputs, (geometry,) = stacked([prepare(sample(0, (8, 200)).query)])
    assert (inputs["image"].shape[2:], geometry.valid_hw) == ((64, 100), (4, 100))
    with torch.no_grad():
        found = model(**{key: torch.from_numpy(value) for key, value in inputs.items()})
    assert torch.isfinite(found["boxes"]).all()
    assert type(prepare).from_json(prepare.to_json()) == prepare
