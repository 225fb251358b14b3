"""What only the classifier has: pooling, heads, losses by its spec, decoders, and an input that its presets name."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from espalier import backbones
from espalier.errors import SpecError
from espalier.layers.model import Batch
from espalier.networks import registry
from espalier.networks.classifier import CARD
from espalier.networks.classifier.model import Average, Classifier, GeneralisedMean, Maximum
from espalier.networks.classifier.spec import ClassifierSpec
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve
from espalier.spec.sections import BackboneSpec

SMALL = BackboneSpec(name="timm/test_efficientnet")


def built(classes: int = 3, **values: Any) -> Classifier:
    spec = ClassifierSpec.model_validate({"backbone": SMALL, **values})
    return Classifier(spec, [f"class {n}" for n in range(classes)])


def batch(target: list[list[float]]) -> Batch:
    return Batch({"image": torch.rand(len(target), 3, 64, 64)}, {"class_C": torch.tensor(target)})


def resolved(network: dict[str, Any], **facts: Any) -> tuple[ClassifierSpec, list[str]]:
    spec = load_spec({"network": {"name": "classifier", **network}}, lookup=registry.entry)
    found, decisions = resolve(spec, Facts(**facts))
    assert isinstance(found.network, ClassifierSpec)
    return found.network, [d.field for d in decisions]


# ---- pooling and heads ----------------------------------------------------------------------------


def test_pooling_by_hand() -> None:
    map_BCHW = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert Average()(map_BCHW).item() == 3.0
    assert Maximum()(map_BCHW).item() == 6.0
    assert GeneralisedMean(p=1.0)(map_BCHW).item() == pytest.approx(3.0)
    assert GeneralisedMean(p=2.0)(map_BCHW).item() == pytest.approx(math.sqrt(50 / 4))
    assert GeneralisedMean(p=60.0)(map_BCHW).item() == pytest.approx(6.0, rel=0.03)


@pytest.mark.parametrize("pool", ["backbone", "avg", "max", "gem"])
@pytest.mark.parametrize("hidden", [0, 5])
def test_every_pool_and_head_learns(pool: str, hidden: int) -> None:
    model = built(pool=pool, hidden=hidden, dropout=0.1)
    model.losses(batch([[1, 0, 0], [0, 0, 1]]))["total"].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert model.last.in_features == (hidden or 256)
    assert [n for n, _ in model.named_parameters() if n.startswith(model.head_prefixes())] == [
        f"head.{len(model.head) - 1}.weight",
        f"head.{len(model.head) - 1}.bias",
    ]


def test_bands_follow_the_input() -> None:
    model = built(input={"channels": "bands", "bands": 5})
    assert model(image=torch.rand(1, 5, 64, 64))["logits"].shape == (1, 3)
    assert built(input={"channels": "grey"})(image=torch.rand(1, 1, 64, 64))["logits"].shape == (1, 3)


def test_a_fresh_head_has_no_opinion() -> None:
    score = built(classes=4)(image=torch.rand(2, 3, 64, 64))["logits"].softmax(dim=1)
    torch.testing.assert_close(score, torch.full((2, 4), 0.25), atol=0.1, rtol=0)


# ---- losses ---------------------------------------------------------------------------------------


def test_several_labels_use_a_loss_for_each() -> None:
    model = built(multi_label=True).eval()
    for parameter in model.last.parameters():
        torch.nn.init.zeros_(parameter)
    loss = model.losses(batch([[1, 1, 0], [0, 0, 0]]))["total"]
    assert loss.item() == pytest.approx(math.log(2))


def test_class_weights_reach_the_loss() -> None:
    model = built(loss={"class_weights": (1.0, 2.0, 0.5)})
    assert model.loss.weight_C is not None
    assert model.loss.weight_C.tolist() == [1.0, 2.0, 0.5]
    assert "loss.weight_C" not in model.state_dict()  # a checkpoint opens whatever weights trained it


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ((1.0, 2.0), "2 numbers for 3 classes"),
        ((0.0, 0.0, 0.0), "positive"),
        ((1.0, -1.0, 1.0), "positive"),
        ("balanced", "class counts"),
    ],
)
def test_class_weights_that_make_no_sense_are_told(weights: Any, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        built(loss={"class_weights": weights})


# ---- what the data decides ------------------------------------------------------------------------


def test_several_labels_by_the_data() -> None:
    assert resolved({})[0].multi_label == "auto"
    spec, fields = resolved({}, multi_label=True)
    assert spec.multi_label is True
    assert "network.multi_label" in fields
    assert CARD.decode(spec).name == "sigmoid"
    assert resolved({"multi_label": False}, multi_label=True)[0].multi_label is False


def test_balanced_weights_by_the_data() -> None:
    wish = {"loss": {"class_weights": "balanced"}}
    assert resolved(wish)[0].loss.class_weights == "balanced"
    spec, fields = resolved(wish, n_train=10, class_counts=(8, 2), classes=("a", "b"), multi_label=False)
    assert spec.loss.class_weights == (0.625, 2.5)  # 10 / (2 · 8), 10 / (2 · 2)
    assert "network.loss.class_weights" in fields
    spec, _ = resolved(wish, n_train=10, class_counts=(8, 5), classes=("a", "b"), multi_label=True)
    assert spec.loss.class_weights == (0.25, 1.0)  # 2 / 8, 5 / 5


def test_a_class_without_pictures_gets_a_bounded_weight() -> None:
    wish = {"loss": {"class_weights": "balanced"}}
    spec, _ = resolved(wish, n_train=1000, class_counts=(1000, 0), classes=("a", "b"), multi_label=False)
    assert max(spec.loss.class_weights) == 20.0


# ---- presets and prepare --------------------------------------------------------------------------


def starts_from_weights(preset: str) -> bool:
    return str(CARD.presets[preset]["network"]["backbone"]["weights"]) != "none"


@pytest.mark.parametrize("preset", [p for p in CARD.presets if p != "fit" and starts_from_weights(p)])
def test_presets_name_the_input_that_their_weights_were_measured_with(preset: str) -> None:
    network, _ = resolved({"preset": preset})
    facts, given = backbones.describe(network.backbone.name), network.input
    assert (given.size_hw, given.fit, given.resample) == (facts.size_hw, facts.fit, facts.resample)
    assert (given.crop_fraction, given.mean, given.std) == (facts.crop_fraction, facts.mean, facts.std)


def test_prepare_is_the_inputs() -> None:
    network, _ = resolved({"preset": "tiny"})
    prepare = CARD.prepare(network)
    assert prepare.size_hw == (160, 160)
    assert prepare.inputs[0].resample == "pillow_bilinear"


def test_prepare_of_an_open_input_names_every_open_field() -> None:
    with pytest.raises(SpecError) as caught:
        CARD.prepare(ClassifierSpec())
    assert "network.input.mean" in {problem.where for problem in caught.value.problems}
