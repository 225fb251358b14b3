"""The same questions to every network that is found. A new network needs no change here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from espalier.errors import UsageError
from espalier.exporter.onnx import to_onnx
from espalier.exporter.parity import check_parity
from espalier.layers.model import Batch, TrainableModel
from espalier.layers.module_backend import ModuleBackend
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.networks.card import Network
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend
from espalier.spec.describe import fields, tunable_fields
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve
from espalier.spec.schema import json_schema
from espalier.spec.sections import NetworkSpec
from espalier.tasks import base as tasks
from espalier.tasks.base import Annotations, Answer, ImageQuery, Sample

NETWORKS = registry.names()
PRESETS = [(name, preset) for name in NETWORKS for preset in registry.get(name).presets]
# the contract's own: one for each network, and one more for each family of encoders, which are asked when there is time
TINY = [
    pytest.param(name, preset, marks=() if preset == "tiny" else pytest.mark.slow)
    for name, preset in PRESETS
    if preset.startswith("tiny")
]
CLASSES = ("red", "green", "blue")


@dataclass(frozen=True)
class Asked:
    """A network of one preset, and two labelled pictures for it."""

    card: Network
    spec: NetworkSpec
    samples: tuple[Sample, ...]

    @property
    def task(self) -> Any:
        return tasks.get(self.card.task_of(self.spec))

    def build(self, *, seed: int = 0) -> TrainableModel:
        torch.manual_seed(seed)
        model: TrainableModel = cards.build(self.card, self.spec, CLASSES)
        return model

    def inputs(self, count: int = 2, *, seed: int | None = None) -> dict[str, NDArray[Any]]:
        """The samples prepared; with a seed, other drawn pictures."""
        queries = [s.query for s in self.samples] if seed is None else [_picture(n, seed) for n in range(count)]
        prepared = [self.card.prepare(self.spec)(query) for query in queries]
        return {name: np.stack([p.arrays[name] for p in prepared]) for name in prepared[0].arrays}

    def batch(self) -> Batch:
        task, prepare = self.task, self.card.prepare(self.spec)
        targets = [task.targets(s, prepare(s.query).geometry, CLASSES) for s in self.samples]
        inputs = {name: torch.from_numpy(array) for name, array in self.inputs().items()}
        return Batch(inputs, {name: _collated(targets, name, task.ragged) for name in targets[0]})

    def decode(self, outputs: Mapping[str, NDArray[Any]]) -> list[Any]:
        rule, prepare = self.card.decode(self.spec), self.card.prepare(self.spec)
        decoder = self.task.decoder(rule.name, rule.version)
        geometries = [prepare(s.query).geometry for s in self.samples]
        return decoder(outputs, geometries, CLASSES, rule.params)


def _collated(targets: list[Any], name: str, ragged: tuple[str, ...]) -> Any:
    values = [torch.as_tensor(target[name]) for target in targets]
    return values if name in ragged else torch.stack(values)


def _picture(class_id: int, seed: int) -> ImageQuery:
    """A dark noisy picture with a rectangle in the class's colour."""
    rng = np.random.default_rng([seed, class_id])
    image = rng.integers(0, 60, (120, 150, 3), dtype=np.uint8)
    image[30:90, 40:110, class_id % 3] = 220
    return ImageQuery(image, name=f"{class_id}.png")


def _sample(task: Any, class_id: int) -> Sample:
    box = np.array([[40, 30, 110, 90]], np.float32)
    outline = [[40, 30, 110, 30, 110, 90, 40, 90]]
    labels = Annotations(np.array([class_id]), box, np.zeros(1, np.bool_), [outline])
    sample: Sample = task.sample(_picture(class_id, 7), labels, CLASSES, name=str(class_id), group=str(class_id))
    return sample


@lru_cache(maxsize=16)
def asked(name: str, preset: str) -> Asked:
    spec = load_spec({"network": {"name": name, "preset": preset}}, lookup=registry.entry)
    facts = Facts(n_train=2, classes=CLASSES, class_counts=(1, 1, 0), multi_label=False)
    resolved, _ = resolve(spec, facts)
    card = registry.get(name)
    assert resolved.network is not None
    task = tasks.get(card.task_of(resolved.network))
    return Asked(card, resolved.network, tuple(_sample(task, n) for n in range(2)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are quicker on one thread, also on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- the card ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_card_is_complete_and_true(name: str) -> None:
    card = registry.get(name)
    assert card.name == name
    assert set(card.tasks) <= set(tasks.names())
    assert all(card.spec.model_fields[knob].annotation is bool for knob in card.switches)
    assert issubclass(card.spec, NetworkSpec)
    assert card.spec().name == name
    assert all((card.summary, card.source, card.licence))
    assert "tiny" in card.presets
    assert {preset.name for preset in card.fit_presets} <= set(card.presets)
    assert {card.task_of_preset(preset) for preset in card.presets} == set(card.tasks)
    for path in (card.build, card.match_outputs, card.probe, card.prune, card.distill):
        assert path is None or callable(cards.load(path))


def test_cards_import_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from espalier.networks import registry\n"
        "for name in registry.names():\n"
        "    card = registry.get(name)\n"
        "    [dict(values) for values in card.presets.values()]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_field_has_words_and_a_schema(name: str) -> None:
    card = registry.get(name)
    assert all(field.description for field in fields(card.spec, "network."))
    own = set(card.spec.model_fields) - set(NetworkSpec.model_fields)
    assert own <= set(json_schema(card.spec)["properties"])
    assert tunable_fields(card.spec)


@pytest.mark.parametrize("name", NETWORKS)
def test_readme_names_the_licence_and_every_preset(name: str) -> None:
    text = resources.files(f"espalier.networks.{name}").joinpath("README.md").read_text("utf-8")
    assert "licence" in text
    assert [p for p in registry.get(name).presets if f"`{p}`" not in text] == []


# ---- every preset --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_preset_has_the_stated_shapes_and_parameters(name: str, preset: str) -> None:
    card, network = registry.get(name), asked(name, preset).spec
    stated = card.facts(preset)
    assert stated.about
    assert card.task_of(network) == card.task_of_preset(preset)
    classes = [f"class {n}" for n in range(stated.classes)]
    with torch.device("meta"):
        model = cards.build(card, network, classes).eval()
        prepare = card.prepare(network)
        inputs = {i.name: torch.empty(2, i.bands, *i.size_hw) for i in prepare.inputs}
        inputs |= {part.name: torch.ones(2, 2, dtype=torch.int64) for part in prepare.valid}
    with torch.no_grad():
        outputs = model(**inputs)
    assert {key: tuple(value.shape) for key, value in outputs.items()} == {
        key: (2, *shape) for key, shape in stated.outputs.items()
    }
    assert sum(p.numel() for p in model.parameters()) == stated.params


# ---- tiny presets, with numbers in them ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "preset"), TINY)
def test_loss_and_gradients_are_finite(name: str, preset: str) -> None:
    question = asked(name, preset)
    model = question.build().train()
    losses = model.losses(question.batch())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(("name", "preset"), TINY)
def test_prefixes_and_groups_speak_of_parameters(name: str, preset: str) -> None:
    model = asked(name, preset).build()
    names = [n for n, _ in model.named_parameters()]
    groups = [prefix for prefixes in model.parameter_groups().values() for prefix in prefixes]
    assert all(any(n.startswith(prefix) for n in names) for prefix in (*groups, *model.head_prefixes()))


@pytest.mark.parametrize(("name", "preset"), TINY)
def test_learns_two_pictures_by_heart(name: str, preset: str) -> None:
    question, batch = asked(name, preset), asked(name, preset).batch()
    model = question.build().train()
    rate = question.card.presets[preset]["train"]["lr"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    history: list[float] = []
    for step in range(100):  # running statistics of norms need some 50 steps to follow
        optimizer.param_groups[0]["lr"] = rate * (1 - step / 100)
        optimizer.zero_grad()
        loss = model.losses(batch)["total"]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.15 * history[0]  # what is noised anew in each step keeps some loss
    metrics = question.task.metrics(CLASSES)
    metrics.update(question.decode(ModuleBackend(model).run(question.inputs())), question.samples)
    assert metrics.compute().value == pytest.approx(1.0)


@pytest.mark.parametrize(("name", "preset"), TINY)
def test_saves_and_loads(name: str, preset: str, tmp_path: Path) -> None:
    question = asked(name, preset)
    first, second = question.build(seed=0), question.build(seed=1)
    inputs = question.inputs()
    expected, other = ModuleBackend(first).run(inputs), ModuleBackend(second).run(inputs)
    assert any(not np.array_equal(expected[key], other[key]) for key in expected)
    save_file(dict(first.state_dict()), tmp_path / "model.safetensors")
    second.load_state_dict(load_file(tmp_path / "model.safetensors"))
    found = ModuleBackend(second).run(inputs)
    assert all(np.array_equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize(("name", "preset"), TINY)
def test_exported_graph_says_the_same_at_other_batches(name: str, preset: str, tmp_path: Path) -> None:
    question = asked(name, preset)
    model = question.build()
    to_onnx(model, question.inputs(), tmp_path / "model.onnx")
    batches = [question.inputs(count, seed=count) for count in (1, 3)]
    match = None if question.card.match_outputs is None else cards.load(question.card.match_outputs)
    report = check_parity(
        ModuleBackend(model), OnnxRuntimeBackend(tmp_path / "model.onnx", device="cpu"), batches, 1e-3, match
    )
    assert report.passed, dict(report.error)
    assert report.items == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if registry.get(name).dynamic_size])
def test_exported_graph_of_free_size_says_the_same_at_another(name: str, tmp_path: Path) -> None:
    """A number read off a shape can tie a graph to the traced size without a word."""
    question = asked(name, "tiny")
    model, inputs = question.build(), question.inputs()
    to_onnx(model, inputs, tmp_path / "model.onnx", dynamic_size=True)
    edges = ((0, 0), (0, 0), (0, 32), (0, 64))
    larger = {key: np.pad(value, edges, mode="wrap") if value.ndim == 4 else value for key, value in inputs.items()}
    match = None if question.card.match_outputs is None else cards.load(question.card.match_outputs)
    report = check_parity(
        ModuleBackend(model), OnnxRuntimeBackend(tmp_path / "model.onnx", device="cpu"), [larger], 1e-3, match
    )
    assert report.passed, dict(report.error)


@pytest.mark.parametrize(("name", "preset"), TINY)
def test_what_it_says_can_be_explained(name: str, preset: str) -> None:
    """A target's scores lie between 0 and 1, its word asks for it again, and it has a gradient."""
    question = asked(name, preset)
    model, task = question.build().eval(), question.task
    outputs = ModuleBackend(model).run(question.inputs())
    geometry = question.card.prepare(question.spec)(question.samples[0].query).geometry
    predictions = question.decode(outputs)
    answer = Answer({key: value[:1] for key, value in outputs.items()}, predictions[0], geometry)
    for target in task.explain_targets(answer, (), CLASSES):
        score_B = target.scores(outputs, predictions)
        assert score_B.shape == (2,)
        assert ((score_B >= 0) & (score_B <= 1 + 1e-6)).all()
        (again,) = task.explain_targets(answer, [target.asked], CLASSES)
        assert np.array_equal(again.scores(outputs, predictions), score_B)
        torch_outputs = model(**{key: torch.from_numpy(value) for key, value in question.inputs().items()})
        activation_B = target.activation(torch_outputs)
        assert activation_B.shape == (2,)
        assert np.allclose(target.activation(outputs), activation_B.detach().numpy(), atol=1e-4)
        gradients = torch.autograd.grad(activation_B.sum(), list(model.parameters()), allow_unused=True)
        assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    with pytest.raises(UsageError):
        task.explain_targets(answer, ["astrology"], CLASSES)


@pytest.mark.parametrize(("name", "preset"), TINY)
def test_decodes_to_valid_predictions(name: str, preset: str) -> None:
    question, task = asked(name, preset), asked(name, preset).task
    predictions = question.decode(ModuleBackend(question.build()).run(question.inputs()))
    assert len(predictions) == 2
    for prediction, sample in zip(predictions, question.samples):
        assert task.to_json(prediction, CLASSES)
        rows = task.rows(prediction, CLASSES)  # none where nothing is said
        assert all(row.keys() == rows[0].keys() for row in rows)
        image = sample.query.image_HWC
        assert task.draw(image, prediction, CLASSES).shape[2] == 3
