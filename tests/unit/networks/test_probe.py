"""The probe is an ordinary model: what it says on features is what the model then says on pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from espalier.errors import SpecError
from espalier.layers.module_backend import ModuleBackend
from espalier.networks.classifier.model import Classifier
from espalier.networks.classifier.probe import Probe
from espalier.networks.classifier.spec import ClassifierSpec
from espalier.spec.sections import BackboneSpec
from espalier.tasks.base import ImageQuery, Sample
from espalier.tasks.classification import ClassificationTarget
from espalier.vision.prepare import standard_prepare

PREPARE = standard_prepare((64, 64), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
CLASSES = ("dark", "light")


def samples(count: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    made = []
    for n in range(count):
        image = rng.integers(0, 120, (70, 80, 3), dtype=np.uint8) + np.uint8(120 * (n % 2))
        made.append(Sample(ImageQuery(image), ClassificationTarget((n % 2,)), name=f"{n}", group=f"{n}"))
    return made


def model(**values: object) -> Classifier:
    torch.manual_seed(0)
    spec = ClassifierSpec.model_validate({"backbone": BackboneSpec(name="timm/test_resnet"), **values})
    return Classifier(spec, CLASSES)


def test_the_model_with_the_head_says_what_the_probe_said() -> None:
    pictures, network = samples(12), model().train()
    probe = Probe(network, PREPARE)
    told: list[int] = []
    features = probe.embed(pictures, batch_size=5, tick=told.append)
    assert features.shape == (12, 96)
    assert told == [5, 10, 12]
    head = probe.fit(features, {"class_C": np.eye(2)[np.arange(12) % 2]}, groups=[s.group for s in pictures])
    probe.write(head)
    image = np.stack([PREPARE(s.query).arrays["image"] for s in pictures])
    logits = ModuleBackend(network).run({"image": image})["logits"]
    expected = probe.outputs(head, features)["logits"]
    np.testing.assert_allclose(logits, expected, atol=1e-3 * abs(expected).max())
    assert (expected.argmax(axis=1) == np.arange(12) % 2).all()
    assert network.training


def test_features_keep_the_order_and_no_pictures_give_none() -> None:
    pictures = samples(7)
    probe = Probe(model(), PREPARE)
    together = probe.embed(pictures, batch_size=3)
    np.testing.assert_allclose(probe.embed([pictures[4]])[0], together[4], atol=1e-4)
    assert probe.embed([]).shape == (0, 96)


def test_several_labels_and_class_weights_are_the_models() -> None:
    network = model(multi_label=True, loss={"class_weights": (1.0, 4.0)})
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(20, 96)), np.zeros((20, 2))
    target[:5] = 1
    bias = Probe(network, PREPARE).fit(x * 1e-6, {"class_C": target}).logits(np.zeros((1, 96)))[0]
    assert bias[1] > bias[0]  # its positives count four times


def test_a_hidden_layer_has_no_probe() -> None:
    with pytest.raises(SpecError, match=r"network\.hidden"):
        Probe(model(hidden=4), PREPARE)
