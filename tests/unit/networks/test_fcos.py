"""FCOS: what a cell says, and that it learns, masks too."""

from __future__ import annotations

import pytest
import torch

from espalier.layers.model import Batch
from espalier.networks.fcos.model import FIRST_REACH, NEVER, Fcos, build
from espalier.networks.fcos.spec import FcosSpec

SPEC = {
    "backbone": {"name": "timm/test_resnet", "weights": "none"}, "levels": 3, "finest_stride": 16, "width": 32,
    "head_layers": 1, "freeze_batch_norm": False,
}  # fmt: skip


def model() -> Fcos:
    torch.manual_seed(0)
    return build(FcosSpec.model_validate(SPEC), ("red", "green"))


def batch(box: tuple[float, float, float, float]) -> Batch:
    image = torch.zeros(1, 3, 64, 96)
    cx, cy, w, h = box
    image[:, 0, int(64 * (cy - h / 2)) : int(64 * (cy + h / 2)), int(96 * (cx - w / 2)) : int(96 * (cx + w / 2))] = 1
    targets = {"class_N": [torch.tensor([1])], "box_N4": [torch.tensor([box])]}
    return Batch({"image": image, "valid_hw": torch.tensor([[64, 96]])}, targets)


def test_cells_lie_in_the_middle_of_their_pixels_and_begin_with_boxes_of_their_level() -> None:
    given = model().eval()
    assert given.strides == [16, 32, 64]
    with torch.no_grad():
        for layer in (given.head.sides, given.head.classes):
            layer.weight.zero_()
        cells = given.see(torch.randn(1, 3, 64, 96), torch.tensor([[64, 96]])).cells
    place_N2 = cells.place_BN2[0] * torch.tensor([96, 64])
    assert place_N2[:2].tolist() == [[8, 8], [24, 8]]  # row by row
    assert place_N2[24].tolist() == [16, 16]
    assert len(place_N2) == 4 * 6 + 2 * 3 + 1 * 2
    size_N2 = cells.box_BN4[0, :, 2:] * torch.tensor([96, 64])
    assert size_N2[0].tolist() == pytest.approx([2 * FIRST_REACH * 16] * 2)
    assert size_N2[-1].tolist() == pytest.approx([2 * FIRST_REACH * 64] * 2)
    torch.testing.assert_close(cells.box_BN4[..., :2], cells.place_BN2)


def test_a_cell_that_shows_padding_alone_says_nothing() -> None:
    with torch.no_grad():
        said = model().eval().see(torch.randn(1, 3, 64, 96), torch.tensor([[64, 40]])).cells
    column_N = torch.arange(24) % 6
    assert said.silent_BN[0, :24].tolist() == (column_N * 16 >= 40).tolist()
    assert (said.logits_BNC[said.silent_BN] == NEVER).all()
    assert (said.logits_BNC[~said.silent_BN] > NEVER).all()


@pytest.mark.parametrize("valid_hw", [(4, 96), (64, 4), (1, 1)])
def test_a_picture_thinner_than_half_a_cell_is_spoken_of(valid_hw: tuple[int, int]) -> None:
    with torch.no_grad():
        said = model().eval().see(torch.randn(1, 3, 64, 96), torch.tensor([valid_hw])).cells
    cells_hw = [-(-side // 16) for side in valid_hw]
    assert int((~said.silent_BN[0, :24]).sum()) == cells_hw[0] * cells_hw[1]
    assert torch.isfinite(said.box_BN4).all()


def test_learns_an_object_by_heart() -> None:
    given, shown = model().train(), batch((0.5, 0.5, 0.4, 0.6))
    optimiser = torch.optim.AdamW(given.parameters(), lr=2e-3)
    for _ in range(40):
        optimiser.zero_grad()
        torch.autograd.backward(given.losses(shown)["total"])
        optimiser.step()
    with torch.no_grad():
        said = given(**shown.inputs)
    best = int(said["logits"].max(-1).values[0].argmax())
    assert int(said["logits"][0, best].argmax()) == 1
    assert said["boxes"][0, best].tolist() == pytest.approx([0.5, 0.5, 0.4, 0.6], abs=0.08)


@pytest.mark.parametrize("known", [(True, False), (False, False)])
def test_objects_without_an_outline_teach_boxes_alone(known: tuple[bool, bool]) -> None:
    torch.manual_seed(0)
    given = build(FcosSpec.model_validate({**SPEC, "masks": True}), ("red", "green")).train()
    mask = torch.zeros(2, 64, 96, dtype=torch.uint8)
    mask[0, :32] = 1
    targets = {
        "class_N": [torch.tensor([0, 1])],
        "box_N4": [torch.tensor([[0.5, 0.25, 1.0, 0.5], [0.5, 0.75, 1.0, 0.5]])],
        "mask_NHW": [mask],
        "masked_N": [torch.tensor(known)],
    }
    inputs = {"image": torch.randn(1, 3, 64, 96), "valid_hw": torch.tensor([[64, 96]])}
    losses = given.losses(Batch(inputs, targets))
    torch.autograd.backward(losses["total"])
    assert torch.isfinite(losses["total"])
    assert (losses["mask"].item() > 0) == any(known)
    assert all(p.grad is not None for p in given.parameters())  # several processes wait for each


def test_what_the_padding_holds_changes_no_mask() -> None:
    torch.manual_seed(0)
    given = build(FcosSpec.model_validate({**SPEC, "masks": True}), ("red", "green")).eval()
    image, valid_hw = torch.randn(1, 3, 64, 96), torch.tensor([[50, 60]])
    other = image.clone()
    other[:, :, 50:], other[..., 60:] = 9.0, -3.0
    with torch.no_grad():
        one, two = (given(image=each, valid_hw=valid_hw) for each in (image, other))
    assert one["mask_features"].shape == (1, 32, 16, 24)
    assert all(torch.equal(one[key], two[key]) for key in one)
