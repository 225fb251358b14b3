"""The gate between a graph and its model: what the model holds is held, what it doesn't is counted."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.errors import ParityError
from espalier.exporter.parity import ParityReport, check_parity, check_trials
from espalier.layers.module_backend import ModuleBackend

from .networks import Jumps, seeded

TOLERANCE = 1e-3


def pictures(*grey):
    """Pictures (B, 3, 16, 16); on a grey one the model stands on a knife's edge."""
    image_BCHW = np.random.default_rng(len(grey)).normal(size=(len(grey), 3, 16, 16)).astype(np.float32)
    image_BCHW[:, 0] += 0.5
    for n, is_grey in enumerate(grey):
        image_BCHW[n, 1] = image_BCHW[n, 0] if is_grey else image_BCHW[n, 1]
    return {"image": image_BCHW}


def grey_rows(inputs):
    return (inputs["image"][:, 0] == inputs["image"][:, 1]).all((1, 2))


class Graph:
    """The model's answer, changed where `wrong` says so: (inputs) → what is added to each row's answer."""

    name, device = "graph", "cpu"

    def __init__(self, model, wrong):
        self.model, self.wrong = model, wrong

    def run(self, inputs):
        return {"logits": self.model.run(inputs)["logits"] + self.wrong(inputs)[:, None]}


@pytest.fixture(scope="module")
def model():
    return ModuleBackend(seeded(Jumps))


def check(model, wrong, *batches):
    return check_parity(model, Graph(model, wrong), batches, TOLERANCE)


def test_other_answers_on_a_knifes_edge_are_left_out_and_counted(model):
    report = check(model, lambda inputs: 2.0 * grey_rows(inputs), pictures(True, False, False), pictures(False))
    assert report.passed
    assert (report.items, report.unsteady, report.worst) == (3, 1, 0.0)
    assert "1 of 4 inputs stands on a knife's edge" in report.block().note


def test_on_a_knifes_edge_the_same_answer_is_a_proof(model):
    report = check(model, lambda inputs: 0.0 * grey_rows(inputs), pictures(True, True))
    assert (report.passed, report.items, report.unsteady) == (True, 2, 0)


def test_a_wrong_graph_fails_on_what_the_model_holds(model):
    report = check(model, lambda inputs: np.full(len(inputs["image"]), 0.1), pictures(True, True, True, False))
    assert (report.passed, report.items, report.unsteady) == (False, 1, 3)
    with pytest.raises(ParityError, match="output 'logits'"):
        report.raise_if_failed("model.onnx")


def test_nothing_is_passed_on_too_little(model):
    report = check(model, lambda inputs: 2.0 * grey_rows(inputs), pictures(True, True, True, True), pictures(False))
    assert report.worst == 0.0
    assert not report.passed
    with pytest.raises(ParityError, match=r"(?s)4 of 5 inputs stand on a knife's edge.*train it longer"):
        report.raise_if_failed("model.onnx")
    with pytest.raises(ParityError, match="nothing was compared"):
        ParityReport(TOLERANCE, {}, (), (), 0).raise_if_failed("model.onnx")


def test_each_trial_is_judged_by_the_first_batch_that_can_be(model):
    graph = Graph(model, lambda inputs: 2.0 * grey_rows(inputs))
    trials = [[pictures(False, False, True)], [pictures(True), pictures(False), pictures(False)]]
    report = check_trials(model, graph, trials, TOLERANCE, None, "model.onnx")
    assert (report.items, report.unsteady, report.batches) == (3, 2, (1, 3))
    with pytest.raises(ParityError, match=r"in batches of 1, at 16×16 px: 2 of 2 inputs stand on a knife's edge"):
        check_trials(model, graph, [*trials, [pictures(True), pictures(True)]], TOLERANCE, None, "model.onnx")
