"""The trunk of detectors with object queries: a backbone, its maps as tokens of several levels, and an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from espalier.layers.deformable_transformer import Encoder
from espalier.layers.detr import Criterion, Encoded, Said, Weights
from espalier.layers.levels import Levels
from espalier.layers.matching import Costs, Match, Objects
from espalier.networks.detector import Detector

if TYPE_CHECKING:
    from espalier.networks.object_queries_spec import ObjectQueriesSpec


class ObjectQueries(Detector):
    """A network's subclass says how queries become answers.

    `temperature` and `centred` are those of the sine positions, `giou_eps` that of the GIoU's denominators.
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
        super().__init__(spec, fine_stride=fine_stride)
        self.levels = Levels(self.channels, spec.width, levels=spec.levels, temperature=temperature, centred=centred)
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
        maps = self.maps(image, valid_hw)
        tokens = self.levels(maps.levels, maps.padded_BHW)
        return Encoded(tokens, self.encoder(tokens), maps.padded_BHW, maps.fine_BCHW)

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


def of_any_class(objects: Sequence[Objects]) -> list[Objects]:
    """The objects for answers that only tell objects from none, which is what the first class then stands for."""
    return [
        Objects(torch.zeros_like(each.class_N), each.box_N4, each.unsaid and each.unsaid.of_any_class())
        for each in objects
    ]


def added(terms: Mapping[str, Tensor], more: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All terms of both; those of one name summed."""
    return {**terms, **{name: terms[name] + value if name in terms else value for name, value in more.items()}}
