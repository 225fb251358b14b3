"""FCOS: what a cell says, and that it learns."""

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
        cells = given.cells(torch.randn(1, 3, 64, 96), torch.tensor([[64, 96]]))
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
        said = model().eval().cells(torch.randn(1, 3, 64, 96), torch.tensor([[64, 40]]))
    column_N = torch.arange(24) % 6
    assert said.silent_BN[0, :24].tolist() == (column_N * 16 >= 40).tolist()
    assert (said.logits_BNC[said.silent_BN] == NEVER).all()
    assert (said.logits_BNC[~said.silent_BN] > NEVER).all()


@pytest.mark.parametrize("valid_hw", [(4, 96), (64, 4), (1, 1)])
def test_a_picture_thinner_than_half_a_cell_is_spoken_of(valid_hw: tuple[int, int]) -> None:
    with torch.no_grad():
        said = model().eval().cells(torch.randn(1, 3, 64, 96), torch.tensor([valid_hw]))
    cells_hw = [-(-side // 16) for side in valid_hw]
    assert int((~said.silent_BN[0, :24]).sum()) == cells_hw[0] * cells_hw[1]
    assert torch.isfinite(said.box_BN4).all()


def test_learns_an_object_by_heart() -> None:
    given, shown = model().train(), batch((0.5, 0.5, 0.4, 0.6))
    optimiser = torch.optim.AdamW(given.parameters(), lr=2e-3)
    for _ in range(40):
        optimiser.zero_grad()
        given.losses(shown)["total"].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        said = given(**shown.inputs)
    best = int(said["logits"].max(-1).values[0].argmax())
    assert int(said["logits"][0, best].argmax()) == 1
    assert said["boxes"][0, best].tolist() == pytest.approx([0.5, 0.5, 0.4, 0.6], abs=0.08)
