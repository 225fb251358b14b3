"""The dense loss: which cells answer for which object, and what they are taught."""

from __future__ import annotations

import pytest
import torch

from espalier.layers.dense_loss import Answers, Cells, all_answers, answers_of, dense_losses
from espalier.layers.matching import Objects
from espalier.layers.unsaid import Unsaid

LEFT, RIGHT = [0.25, 0.5, 0.4, 0.4], [0.75, 0.5, 0.4, 0.4]


def objects(*boxes: list[float], unsaid: Unsaid | None = None) -> Objects:
    return Objects(torch.zeros(len(boxes), dtype=torch.int64), torch.tensor(boxes).reshape(-1, 4), unsaid)


MOST = 6


def cells(*boxes: list[float], logit: float = 0.0, silent: tuple[int, ...] = ()) -> Cells:
    """Each cell in the middle of what it says."""
    box_BN4 = torch.tensor([list(boxes)])
    silent_BN = torch.isin(torch.arange(len(boxes)), torch.tensor(silent, dtype=torch.int64))[None]
    return Cells(torch.full((1, len(boxes), 1), logit), box_BN4, box_BN4[..., :2].clone(), silent_BN)


def answers(said: Cells, each: Objects) -> Answers:
    return answers_of(said, 0, each, most=MOST)


def losses_of(said: Cells, each: Objects) -> dict[str, torch.Tensor]:
    return dense_losses(said, [each], all_answers(said, [each], most=MOST), giou_eps=1e-6)


def test_cells_answer_for_the_object_that_they_lie_in() -> None:
    said = cells([0.3, 0.5, 0.4, 0.4], [0.7, 0.5, 0.2, 0.2], [0.5, 0.9, 0.4, 0.4])
    found = answers(said, objects(LEFT, RIGHT))
    assert found.cell_P.tolist() == [0, 1]
    assert found.object_P.tolist() == [0, 1]


def test_best_cell_is_to_say_its_overlap_and_others_less() -> None:
    said = cells(LEFT, [0.3, 0.5, 0.4, 0.4])  # overlaps of 1 and 0.35 / 0.45
    found = answers(said, objects(LEFT))
    assert found.fit_P[0] == pytest.approx(1.0, abs=1e-4)
    assert 0 < found.fit_P[1] < 0.35 / 0.45


def test_long_object_is_taught_by_cells_that_share_little_of_it() -> None:
    said = cells([0.5, 0.5, 0.2, 0.2])  # the hull is far larger than both: GIoU is negative
    found = answers(said, objects([0.5, 0.5, 0.9, 0.04]))
    assert found.fit_P.tolist() == pytest.approx([0.008 / (0.04 + 0.036 - 0.008)], abs=1e-4)


def test_no_more_cells_answer_than_are_wanted() -> None:
    said = cells(*([0.25 + 0.001 * n, 0.5, 0.4, 0.4] for n in range(3 * MOST)))
    assert len(answers(said, objects(LEFT)).cell_P) == MOST


def test_silent_cell_does_not_answer_and_is_taught_nothing() -> None:
    said = cells(LEFT, RIGHT, silent=(1,))
    assert answers(said, objects([0.5, 0.5, 0.99, 0.99])).cell_P.tolist() == [0]
    said.logits_BNC[0, :, 0] = torch.tensor([-50.0, 50.0])
    assert float(losses_of(said, objects())["class"]) == pytest.approx(0, abs=1e-6)


def test_object_between_the_cells_has_the_nearest() -> None:
    said = cells([0.2, 0.2, 0.1, 0.1], [0.4, 0.2, 0.1, 0.1], [0.31, 0.2, 0.1, 0.1], silent=(2,))
    found = answers(said, objects([0.32, 0.2, 0.02, 0.02]))
    assert found.cell_P.tolist() == [1]
    assert found.object_P.tolist() == [0]


def test_perfect_cells_lose_nothing() -> None:
    said = cells(LEFT, [0.75, 0.9, 0.1, 0.1])
    said.logits_BNC[0, :, 0] = torch.tensor([20.0, -20.0])
    for name, loss in losses_of(said, objects(LEFT)).items():
        assert float(loss) == pytest.approx(0, abs=1e-3), name


def test_picture_without_objects_teaches_background() -> None:
    losses = losses_of(cells(LEFT, logit=0.0), objects())
    assert float(losses["class"]) == pytest.approx(0.75 * 0.25 * 0.6931, rel=1e-3)  # 0.75 p² log 2
    assert float(losses["l1"]) == float(losses["giou"]) == 0


def test_region_of_which_nothing_is_said_teaches_nothing() -> None:
    unsaid = Unsaid(torch.tensor([-1]), torch.tensor([[0.5, 0.5, 1.0, 1.0]]), torch.zeros(0, dtype=torch.int64))
    losses = losses_of(cells(LEFT, logit=3.0), objects(unsaid=unsaid))
    assert float(losses["class"]) == 0


def test_divisor_is_the_mean_over_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    said = cells(LEFT, RIGHT)  # each fits: a divisor of 2
    alone = losses_of(said, objects(LEFT, RIGHT))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: total.add_(6))  # the other process has 6
    together = losses_of(said, objects(LEFT, RIGHT))
    assert float(together["class"]) == pytest.approx(float(alone["class"]) * 2 / 4, rel=1e-4)


def test_gradients_reach_scores_and_boxes() -> None:
    said = cells([0.3, 0.5, 0.3, 0.3])
    said.logits_BNC.requires_grad_()
    said.box_BN4.requires_grad_()
    torch.autograd.backward(torch.stack(list(losses_of(said, objects(LEFT)).values())).sum())
    assert said.logits_BNC.grad is not None
    assert said.logits_BNC.grad.abs().sum() > 0
    assert said.box_BN4.grad is not None
    assert said.box_BN4.grad.abs().sum() > 0
