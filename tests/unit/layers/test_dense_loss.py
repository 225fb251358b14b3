"""The dense loss: which tokens answer for which object, and what they are taught."""

from __future__ import annotations

import pytest
import torch

from espalier.layers.dense_loss import ANSWERS, Answers, Tokens, answers_of, dense_losses
from espalier.layers.matching import Objects
from espalier.layers.unsaid import Unsaid

LEFT, RIGHT = [0.25, 0.5, 0.4, 0.4], [0.75, 0.5, 0.4, 0.4]


def objects(*boxes: list[float], unsaid: Unsaid | None = None) -> Objects:
    return Objects(torch.zeros(len(boxes), dtype=torch.int64), torch.tensor(boxes).reshape(-1, 4), unsaid)


def tokens(*starts: list[float], logit: float = 0.0) -> Tokens:
    start_BN4 = torch.tensor([list(starts)])
    return Tokens(torch.full((1, len(starts), 1), logit), start_BN4.clone(), start_BN4)


def answers(said: Tokens, each: Objects) -> Answers:
    return answers_of(said.logits_BNC[0], said.box_BN4[0], said.start_BN4[0], each)


def test_tokens_answer_for_the_object_that_they_lie_in() -> None:
    said = tokens([0.3, 0.5, 0.4, 0.4], [0.7, 0.5, 0.2, 0.2], [0.5, 0.9, 0.4, 0.4])
    found = answers(said, objects(LEFT, RIGHT))
    assert found.token_P.tolist() == [0, 1]
    assert found.object_P.tolist() == [0, 1]


def test_best_token_is_to_say_its_overlap_and_others_less() -> None:
    said = tokens(LEFT, [0.3, 0.5, 0.4, 0.4])  # overlaps of 1 and 0.35 / 0.45
    found = answers(said, objects(LEFT))
    assert found.fit_P[0] == pytest.approx(1.0, abs=1e-4)
    assert 0 < found.fit_P[1] < 0.35 / 0.45


def test_no_more_tokens_answer_than_are_wanted() -> None:
    said = tokens(*([0.25 + 0.001 * n, 0.5, 0.4, 0.4] for n in range(3 * ANSWERS)))
    assert len(answers(said, objects(LEFT)).token_P) == ANSWERS


def test_token_that_proposes_nothing_does_not_answer() -> None:
    start = torch.tensor([[[0.25, 0.5, 0.4, 0.4], [1.0, 1.0, 1.0, 1.0]]])
    said = Tokens(torch.zeros(1, 2, 1), start.clone(), start)
    assert answers(said, objects([0.5, 0.5, 0.99, 0.99])).token_P.tolist() == [0]
    silent = dense_losses(Tokens(torch.tensor([[[-50.0], [50.0]]]), start.clone(), start), [objects()], giou_eps=1e-6)
    assert float(silent["class"]) == pytest.approx(0, abs=1e-6)


def test_perfect_tokens_lose_nothing() -> None:
    said = tokens(LEFT, [0.75, 0.9, 0.1, 0.1])
    said.logits_BNC[0, :, 0] = torch.tensor([20.0, -20.0])
    for name, loss in dense_losses(said, [objects(LEFT)], giou_eps=1e-6).items():
        assert float(loss) == pytest.approx(0, abs=1e-3), name


def test_picture_without_objects_teaches_background() -> None:
    losses = dense_losses(tokens(LEFT, logit=0.0), [objects()], giou_eps=1e-6)
    assert float(losses["class"]) == pytest.approx(0.75 * 0.25 * 0.6931, rel=1e-3)  # 0.75 p² log 2
    assert float(losses["l1"]) == float(losses["giou"]) == 0


def test_region_of_which_nothing_is_said_teaches_nothing() -> None:
    unsaid = Unsaid(torch.tensor([-1]), torch.tensor([[0.5, 0.5, 1.0, 1.0]]), torch.zeros(0, dtype=torch.int64))
    losses = dense_losses(tokens(LEFT, logit=3.0), [objects(unsaid=unsaid)], giou_eps=1e-6)
    assert float(losses["class"]) == 0


def test_gradients_reach_scores_and_boxes() -> None:
    start = torch.tensor([[[0.3, 0.5, 0.3, 0.3]]])
    said = Tokens(torch.zeros(1, 1, 1, requires_grad=True), start.clone().requires_grad_(), start)
    torch.stack(list(dense_losses(said, [objects(LEFT)], giou_eps=1e-6).values())).sum().backward()  # type: ignore[no-untyped-call]
    assert said.logits_BNC.grad is not None
    assert said.logits_BNC.grad.abs().sum() > 0
    assert said.box_BN4.grad is not None
    assert said.box_BN4.grad.abs().sum() > 0
