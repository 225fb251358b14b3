"""The trunk of detectors with object queries: a backbone, its maps as tokens of several levels, and an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from espalier import backbones
from espalier.layers.deformable_transformer import Encoder
from espalier.layers.detr import Criterion, Encoded, Said, Weights
from espalier.layers.levels import Levels, padding_mask
from espalier.layers.matching import Costs, Match, Objects
from espalier.layers.model import Batch, TrainableModel
from espalier.layers.unsaid import Unsaid
from espalier.networks.input import bands, size_hw

if TYPE_CHECKING:
    from espalier.networks.object_queries_spec import ObjectQueriesSpec


class ObjectQueries(TrainableModel):
    """A network's subclass says how queries become answers.

    `temperature` and `centred` are those of the sine positions, `giou_eps` that of the GIoU's denominators. A head may
    look at the backbone's map of `fine_stride`, too, where there is one.
    """

    def __init__(
        self,
        spec: ObjectQueriesSpec,
        *,
        temperature: float,
        centred: bool,
        giou_eps: float,
        fine_stride: int | None = None,
    ) -> None:
        super().__init__()
        facts = backbones.describe(spec.backbone.name)
        self.backbone = backbones.create(
            spec.backbone.name,
            channels_in=bands(spec.input),
            out="pyramid" if facts.dense_strides else "dense",  # published dense models may see no pyramid (FAN)
            size_hw=size_hw(spec.input),
            dilated=spec.backbone.dilation,
        )
        self.backbone.drop_paths(spec.backbone.drop_path)
        if spec.freeze_batch_norm is not False:  # as published while that is still open
            freeze_batch_norm(self.backbone)
        self.taken = [n for n, stride in enumerate(facts.strides) if stride >= spec.finest_stride][-spec.levels :]
        self.fine = next((n for n, stride in enumerate(facts.strides) if stride == fine_stride), None)
        self.backbone.drop_unused(self.taken if self.fine is None else sorted({self.fine, *self.taken}))
        channels = [self.backbone.channels[n] for n in self.taken]
        self.levels = Levels(channels, spec.width, levels=spec.levels, temperature=temperature, centred=centred)
        self.encoder = Encoder(
            spec.encoder_layers,
            spec.width,
            spec.hidden,
            heads=spec.heads,
            levels=spec.levels,
            points=spec.encoder_points,
            dropout=spec.dropout,
        )
        loss = spec.loss
        self.criterion = Criterion(
            Weights(loss.class_weight, loss.l1_weight, loss.giou_weight),
            Costs(loss.class_cost, loss.l1_cost, loss.giou_cost),
            giou_eps,
            fitted=loss.score == "fit",
        )

    def encode(self, image: Tensor, valid_hw: Tensor) -> Encoded:
        """The pictures' tokens and memory."""
        padded_BHW = padding_mask(image, valid_hw)
        maps = self.backbone(image.masked_fill(padded_BHW[:, None], 0))  # whatever pads, with whatever value
        tokens = self.levels([maps[n] for n in self.taken], padded_BHW)
        return Encoded(tokens, self.encoder(tokens), padded_BHW, None if self.fine is None else maps[self.fine])

    def answers(self, encoded: Encoded) -> tuple[list[Said], Said | None]:
        """Each decoder layer's answer, and the encoder's own where it gives one."""
        raise NotImplementedError(f"{type(self).__name__} must define answers")

    def parameter_groups(self) -> dict[str, list[str]]:
        """Slow is what says where to look: sampling offsets, and queries' reference points."""
        slow = [name for name, _ in self.named_parameters() if "sampling_offsets." in name or "reference." in name]
        return {**super().parameter_groups(), "slow": slow}

    def forward(self, image: Tensor, valid_hw: Tensor) -> dict[str, Tensor]:  # type: ignore[override]  # inputs by name
        """`logits` (B, Q, C), and `boxes` (B, Q, 4): cx, cy, w, h relative to the valid picture."""
        last = self.answers(self.encode(image, valid_hw))[0][-1]
        return {"logits": last.logits_BQC, "boxes": last.box_BQ4}

    def layer_terms(
        self, said: Sequence[Said], objects: Sequence[Objects], matches: Sequence[Sequence[Match]] | None = None
    ) -> dict[str, Tensor]:
        """The last layer's weighted terms, and the weighted loss of the layers before it together.

        `matches` of each layer are found unless given.
        """
        found = [None] * len(said) if matches is None else matches
        scored = [self.criterion(each, objects, own) for each, own in zip(said, found, strict=True)]
        weights = self.criterion.weights
        last = scored[-1]
        terms = {
            "class": weights.class_ * last["class"],
            "l1": weights.l1 * last["l1"],
            "giou": weights.giou * last["giou"],
        }
        if len(scored) > 1:
            terms["auxiliary"] = torch.stack([weights.total(each) for each in scored[:-1]]).sum()
        return terms


def labelled(batch: Batch) -> list[Objects]:
    """The objects of each picture: class ids, boxes relative to the valid picture, and what the labels don't say."""
    targets = batch.targets
    return [
        Objects(c, b, unsaid)
        for c, b, unsaid in zip(targets["class_N"], targets["box_N4"], _unsaid(targets, batch.size), strict=True)
    ]


def _unsaid(targets: Mapping[str, Any], pictures: int) -> list[Unsaid | None]:
    """What the labels of each picture say nothing of; targets without these arrays say everything."""
    names = ("ignored_class_K", "ignored_K4", "unlabelled_U")
    if any(name not in targets for name in names):
        return [None] * pictures
    return [
        Unsaid(regions, boxes, classes) if len(regions) or len(classes) else None
        for regions, boxes, classes in zip(*(targets[name] for name in names), strict=True)
    ]


def of_any_class(objects: Sequence[Objects]) -> list[Objects]:
    """The objects for answers that only tell objects from none, which is what the first class then stands for."""
    return [
        Objects(torch.zeros_like(each.class_N), each.box_N4, each.unsaid and each.unsaid.of_any_class())
        for each in objects
    ]


def added(terms: Mapping[str, Tensor], more: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All terms of both; those of one name summed."""
    return {**terms, **{name: terms[name] + value if name in terms else value for name, value in more.items()}}


def with_total(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The terms and their sum."""
    return {**terms, "total": torch.stack(list(terms.values())).sum()}


def freeze_batch_norm(module: nn.Module) -> None:
    """Batch norms keep their published statistics and scales: a detector's batches are too small for new ones."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            setattr(module, name, _frozen(child))
        else:
            freeze_batch_norm(child)


def _frozen(norm: nn.BatchNorm2d) -> FrozenBatchNorm2d:
    frozen = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
    state = {name: value for name, value in norm.state_dict().items() if name != "num_batches_tracked"}
    frozen.load_state_dict(state)
    return frozen
