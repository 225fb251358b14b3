"""Other people's segmenters on the house's start weights, pictures, random changes and loss: only the network differs.

They are those of segmentation_models_pytorch (MIT).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from espalier.actions.recipe import Recipe
from espalier.layers.model import Batch, TrainableModel
from espalier.layers.segmentation_loss import PixelLoss, pixel_losses
from espalier.networks.segformer.model import Segformer

INSTALL = "pip install --no-deps segmentation-models-pytorch==0.6.0, in a copy of the environment"
LR = 1e-3  # of AdamW, for what begins with random weights; the encoder with start weights has a tenth


class Peer(TrainableModel):
    """One of smp's networks, asked and taught as the house's: `image` to `logits` and `class`."""

    def __init__(self, network: nn.Module, loss: PixelLoss) -> None:
        super().__init__()
        self.network, self.settings = network, loss

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]  # inputs by their names
        """The logits, and the class of every pixel."""
        logits_BCHW = self.network(image)
        return {"logits": logits_BCHW, "class": logits_BCHW.argmax(1).to(torch.uint8)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The house's loss of every pixel."""
        return pixel_losses(self.network(batch.inputs["image"]), batch.targets["class_HW"], self.settings)


def unet(recipe: Recipe, model: Segformer) -> Peer:
    """smp's U-Net around the encoder that the recipe's network has, with that one's weights."""
    import segmentation_models_pytorch as smp  # type: ignore[import-not-found]  # a peer

    network = smp.Unet(_encoder(recipe), encoder_weights=None, in_channels=3, classes=len(recipe.classes))
    _take(network, model)
    return Peer(network, loss_of(recipe))


def deeplab(encoder: str, recipe: Recipe) -> Peer:
    """smp's DeepLabV3+ on one of its encoders, from random weights."""
    import segmentation_models_pytorch as smp

    network = smp.DeepLabV3Plus(encoder, encoder_weights=None, in_channels=3, classes=len(recipe.classes))
    return Peer(network, loss_of(recipe))


def loss_of(recipe: Recipe) -> PixelLoss:
    """What the recipe's own network minimises."""
    network: Any = recipe.spec.network
    return PixelLoss(network.loss.kind, network.loss.over, dice_weight=network.loss.dice_weight)


def optimiser(model: TrainableModel, *, lr: float, encoder: str, ratio: float) -> torch.optim.Optimizer:
    """AdamW; what begins with `encoder` has that share of the rate."""
    groups = [
        {"params": [p for name, p in model.named_parameters() if name.startswith(encoder) is inside], "lr": rate}
        for inside, rate in ((True, ratio * lr), (False, lr))
    ]
    return torch.optim.AdamW(groups, weight_decay=0.01)


def _encoder(recipe: Recipe) -> str:
    assert recipe.spec.network is not None
    return "tu-" + str(recipe.spec.network.backbone.name).removeprefix("timm/")


def _take(network: Any, model: Segformer) -> None:
    """The encoder's start weights. Both are timm's model; the house's is asked without its last layers."""
    wanted, given = network.encoder.state_dict(), model.backbone.state_dict()
    if [tuple(t.shape) for t in wanted.values()] != [tuple(t.shape) for t in given.values()]:
        raise SystemExit("the peer's encoder is not the house's")
    network.encoder.load_state_dict(dict(zip(wanted, given.values(), strict=True)))
