from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from espalier.errors import ModelError
from espalier.explainer.rollout import attentions, rolled, rollout
from espalier.tasks.classification.explained import target

TARGET = target(0, ("a", "b"))


class Named(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.body(image)}


def vit(**options: object) -> Named:
    torch.manual_seed(0)
    made = timm.create_model(
        "vit_tiny_patch16_224",
        pretrained=False,
        num_classes=2,
        img_size=64,
        depth=2,
        embed_dim=24,
        num_heads=3,
        **options,
    )
    return Named(made.eval())


def test_two_blocks_by_hand():
    """Â = (A + I) / 2; the class token reads row 0 of Â₂ Â₁."""
    first = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    second = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    # Â₂ row 0 = (0.75, 0.25); Â₁ = [[0.5, 0.5], [0.25, 0.75]]  →  (0.4375, 0.5625)
    assert torch.allclose(rolled([first, second], torch.tensor([1.0, 0.0])), torch.tensor([0.4375, 0.5625]))
    both = rolled([first, second], torch.tensor([1.0, 1.0]))
    assert both.sum() == pytest.approx(1)


def test_a_vit_against_the_product_of_its_matrices():
    model, image_BCHW = vit(), torch.randn(1, 3, 64, 64)
    seen = []
    for module in attentions(model).values():
        module.fused_attn = False
        module.attn_drop.register_forward_hook(lambda m, args, out: seen.append(out[0].mean(dim=0).detach()))
    before = model(image_BCHW)["logits"]
    whole_NN = torch.eye(17)
    for matrix_NN in seen:
        whole_NN = (matrix_NN + torch.eye(17)) / 2 @ whole_NN
    map_HW = rollout(model, {"image": image_BCHW}, TARGET, input_hw=(64, 64))
    assert np.allclose(map_HW, whole_NN[0, 1:].reshape(4, 4).numpy(), atol=1e-6)  # the class token's row
    assert torch.equal(model(image_BCHW)["logits"], before)


def test_pooled_patches_are_all_read():
    map_HW = rollout(vit(global_pool="avg"), {"image": torch.randn(1, 3, 64, 64)}, TARGET, input_hw=(64, 64))
    assert map_HW.shape == (4, 4)
    assert 0.9 < map_HW.sum() < 1  # the rest is the class token's


def test_the_model_is_left_as_it_was():
    model = vit()
    before = [module.fused_attn for module in attentions(model).values()]
    rollout(model, {"image": torch.randn(1, 3, 64, 64)}, TARGET, input_hw=(64, 64))
    assert [module.fused_attn for module in attentions(model).values()] == before
    assert not any(module.attn_drop._forward_pre_hooks for module in attentions(model).values())


@pytest.mark.parametrize(
    ("name", "why"),
    [("resnet10t", "no block of it attends"), ("pvt_v2_b0", "do not attend over all tokens"),
     ("xcit_nano_12_p16_224", "do not attend over all tokens")],
)  # fmt: skip
def test_what_is_no_plain_vit_is_told_so(name, why):
    body = timm.create_model(name, pretrained=False, num_classes=2).eval()
    with pytest.raises(ModelError, match=why) as error:
        rollout(Named(body), {"image": torch.randn(1, 3, 224, 224)}, TARGET, input_hw=(224, 224))
    assert "gradcam, rise and features fit" in str(error.value)
