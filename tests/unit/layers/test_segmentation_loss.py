"""Pixel losses against the formulas as autograd sees them, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from espalier.layers.segmentation_loss import PixelLoss, pixel_losses

CLASSES = 5


def drawn(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (2, 5, 4, 3) and labels (2, 13, 11): sizes of no whole ratio, some pixels ignored, class 4 nowhere."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, CLASSES, 4, 3, generator=generator, dtype=torch.float64)
    classes = torch.randint(-1, CLASSES - 1, (2, 13, 11), generator=generator)
    classes[0, :2] = 255
    return logits, classes


def plain(logits: Tensor, classes: Tensor, settings: PixelLoss, weight: Tensor | None) -> dict[str, Tensor]:
    """The same losses with every map kept, in the words of their papers."""
    raised = functional.interpolate(logits, size=classes.shape[1:], mode="bilinear", align_corners=False)
    log_p = raised.log_softmax(1)
    good = (classes >= 0) & (classes < CLASSES)
    own = log_p.permute(0, 2, 3, 1)[good].gather(1, classes[good][:, None])[:, 0]
    worth = torch.ones_like(own) if weight is None else weight[classes[good]]
    terms: dict[str, Tensor] = {}
    if settings.kind != "dice":
        loss = -own
        if settings.kind == "focal":
            loss = loss * (1 - own.exp()) ** settings.focus
        if settings.kind == "ohem":
            least = math.ceil(settings.hard_share * len(own))
            hard = own <= max(math.log(settings.hard_below), float(own.detach().sort().values[least - 1]))
            worth = worth * hard
        over = classes.numel() if settings.over == "all" else worth.sum()
        terms[settings.kind] = (worth * loss).sum() / over
    if settings.kind == "dice" or settings.dice_weight:
        p = log_p.exp().permute(0, 2, 3, 1)[good]
        truth = functional.one_hot(classes[good], CLASSES).to(p)
        dice = 1 - 2 * (p * truth).sum(0) / (p.sum(0) + truth.sum(0))
        terms["dice"] = (dice[truth.sum(0) > 0]).mean() * (settings.dice_weight or 1)
    return terms


SETTINGS = [
    PixelLoss(),
    PixelLoss(over="all"),
    PixelLoss("focal"),
    PixelLoss("focal", focus=0.5),
    PixelLoss("ohem", hard_below=0.2, hard_share=0.05),
    PixelLoss("ohem", hard_below=1e-4, hard_share=0.4),
    PixelLoss("ohem", over="all"),
    PixelLoss("dice"),
    PixelLoss("cross_entropy", dice_weight=0.5),
    PixelLoss("focal", dice_weight=2.0),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_values_and_gradients_are_those_of_the_formulas(settings: PixelLoss, weighted: bool) -> None:
    logits, classes = drawn()
    weight = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0], dtype=torch.float64) if weighted else None
    found, ours = {}, logits.clone().requires_grad_()
    found = pixel_losses(ours, classes, settings, weight)
    theirs = logits.clone().requires_grad_()
    wanted = plain(theirs, classes, settings, weight)
    assert found.keys() == {*wanted, "total"}
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)
    (3 * found["total"]).backward()  # type: ignore[no-untyped-call]
    (3 * torch.stack(list(wanted.values())).sum()).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_a_pixel_by_hand() -> None:
    """Of two labelled and two ignored pixels: -log 3/4 and -log 1/4; over the two, or over all four."""
    logits = torch.tensor([0.75, 0.25]).log()[None, :, None, None].expand(1, 2, 2, 2)
    classes = torch.tensor([[[0, 1], [-1, 255]]])
    total = -math.log(0.75) - math.log(0.25)
    assert float(pixel_losses(logits, classes, PixelLoss())["total"]) == pytest.approx(total / 2)
    assert float(pixel_losses(logits, classes, PixelLoss(over="all"))["total"]) == pytest.approx(total / 4)


@pytest.mark.parametrize("kind", ["cross_entropy", "ohem", "focal", "dice"])
def test_a_batch_without_labels_teaches_nothing(kind: str) -> None:
    logits = drawn()[0].requires_grad_()
    losses = pixel_losses(logits, torch.full((2, 8, 8), -1), PixelLoss(kind))  # type: ignore[arg-type]
    losses["total"].backward()  # type: ignore[no-untyped-call]
    assert float(losses["total"].detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("settings", [PixelLoss("cross_entropy", dice_weight=1.0), PixelLoss("dice")], ids=str)
def test_mixed_precision_changes_no_gradient(settings: PixelLoss) -> None:
    logits, classes = drawn()
    found = []
    for mixed in (False, True):
        own = logits.float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            total = pixel_losses(own, classes, settings)["total"]
        found.append(torch.autograd.grad(total, own)[0])
    assert torch.equal(*found)


def test_labels_may_be_bytes_and_logits_bf16() -> None:
    logits, classes = drawn()
    rough = logits.to(torch.bfloat16).requires_grad_()
    exact = pixel_losses(rough.detach().double(), classes, PixelLoss())["total"]
    total = pixel_losses(rough, classes.remainder(256).to(torch.uint8), PixelLoss())["total"]
    total.backward()  # type: ignore[no-untyped-call]
    assert float(total.detach()) == pytest.approx(float(exact), rel=1e-5)
    assert rough.grad is not None
    assert rough.grad.dtype == torch.bfloat16
