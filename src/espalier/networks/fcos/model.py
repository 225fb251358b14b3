"""FCOS (Tian et al., 2019): every cell of a feature pyramid says what it lies in and how far the sides are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from espalier.layers.dense_loss import Answers, Cells, all_answers, dense_losses
from espalier.layers.detr import RARE, Said
from espalier.layers.feature_pyramid import FeaturePyramid
from espalier.layers.mask_head import STRIDE, MaskHead, MaskMaps
from espalier.layers.mask_loss import MaskScorer, MaskWeights, Outlined
from espalier.layers.matching import Match, Objects
from espalier.layers.model import Batch
from espalier.networks.detector import Detector, labelled, with_total

if TYPE_CHECKING:
    from espalier.networks.fcos.spec import FcosSpec

GROUPS = 32
FIRST_REACH = 2.5  # strides from a cell to each side of its box before training: the levels' boxes follow each other
LARGEST_LOG = 8.0  # of a distance in strides
NEVER = -50.0  # the logit of a cell that shows padding alone
GIOU_EPS = 1e-6


def build(spec: FcosSpec, classes: Sequence[str]) -> Fcos:
    """A fresh detector with random weights. Raises InputError for an unknown backbone."""
    return Fcos(spec, classes)


class Head(nn.Module):
    """Convolutions that all levels share, but for a factor of their own for the distances."""

    def __init__(self, width: int, classes: int, *, layers: int, levels: int) -> None:
        super().__init__()
        self.class_tower = nn.Sequential(*(_convolution(width) for _ in range(layers)))
        self.side_tower = nn.Sequential(*(_convolution(width) for _ in range(layers)))
        self.classes = _answer(width, classes, at_first=-math.log((1 - RARE) / RARE))
        self.sides = _answer(width, 4, at_first=math.log(FIRST_REACH))
        self.factor_L = nn.Parameter(torch.ones(levels))

    def forward(self, map_BCHW: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits (B, HW, C); strides to the left, upper, right and lower side (B, HW, 4); what says these.

        The first two are float32.
        """
        logits = self.classes(self.class_tower(map_BCHW))
        stream_BCHW = self.side_tower(map_BCHW)
        log_sides = self.factor_L[level] * self.sides(stream_BCHW)
        sides = log_sides.float().clamp(max=LARGEST_LOG).exp()
        return _by_cell(logits.float()), _by_cell(sides), _by_cell(stream_BCHW)


@dataclass(frozen=True)
class Seen:
    """What the cells say of a batch, what they say their sides from (B, N, width), and what masks are drawn from."""

    cells: Cells
    stream_BNC: Tensor
    mask_maps: MaskMaps


class Fcos(Detector):
    """`image` (B, bands, H, W) and `valid_hw` (B, 2), its part that is picture, to each cell's `logits` and `boxes`.

    With masks also to `mask_kernels` (B, N, E) and `mask_features` (B, E, ⌈H/4⌉, ⌈W/4⌉): the logits of a cell's mask
    are its kernel times the map's channels (CondInst, Tian et al., 2020, with one linear kernel).
    """

    def __init__(self, spec: FcosSpec, classes: Sequence[str]) -> None:
        super().__init__(spec, fine_stride=STRIDE if spec.masks else None)
        self.pyramid = FeaturePyramid(self.channels, spec.width, levels=spec.levels)
        self.head = Head(spec.width, len(classes), layers=spec.head_layers, levels=spec.levels)
        self.strides = [self.backbone.strides[n] for n in self.taken]
        while len(self.strides) < spec.levels:
            self.strides.append(2 * self.strides[-1])
        self.loss = spec.loss
        self.masks = self.mask_head(spec, width=spec.width)

    def forward(self, image: Tensor, valid_hw: Tensor) -> dict[str, Tensor]:  # type: ignore[override]  # inputs by name
        """`logits` (B, N, C), and `boxes` (B, N, 4): cx, cy, w, h relative to the valid picture; finest level first."""
        seen = self.see(image, valid_hw)
        outputs = {"logits": seen.cells.logits_BNC, "boxes": seen.cells.box_BN4}
        if self.masks is not None:
            outputs["mask_kernels"] = self.masks.kernels(seen.stream_BNC, seen.cells.box_BN4)
            outputs["mask_features"] = self.masks.features(seen.mask_maps)
        return outputs

    def see(self, image_BCHW: Tensor, valid_hw: Tensor) -> Seen:
        """What each cell says; those that show padding alone say nothing."""
        given = self.maps(image_BCHW, valid_hw)
        maps = self.pyramid(given.levels)
        logits, sides, streams = zip(*(self.head(each, n) for n, each in enumerate(maps)), strict=True)
        corners = [_corners(each, stride) for each, stride in zip(maps, self.strides, strict=True)]
        place_N2 = torch.cat([each + stride / 2 for each, stride in zip(corners, self.strides, strict=True)])
        reach_BN4 = torch.cat([stride * each for each, stride in zip(sides, self.strides, strict=True)], 1)
        low_BN2, high_BN2 = place_N2 - reach_BN4[..., :2], place_N2 + reach_BN4[..., 2:]
        size_B12 = valid_hw.flip(-1)[:, None].float()
        box_BN4 = torch.cat([(low_BN2 + high_BN2) / 2 / size_B12, (high_BN2 - low_BN2) / size_B12], -1)
        silent_BN = (torch.cat(corners)[None] >= size_B12).any(-1)
        said_BNC = torch.cat(logits, 1).masked_fill(silent_BN[..., None], NEVER)
        cells = Cells(said_BNC, box_BN4, place_N2[None] / size_B12, silent_BN)
        return Seen(cells, torch.cat(streams, 1), MaskMaps(maps[0], given.fine_BCHW, given.padded_BHW))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """What the cells that answer for an object, and all others, are taught."""
        objects = labelled(batch)
        seen = self.see(batch.inputs["image"], batch.inputs["valid_hw"])
        answers = all_answers(seen.cells, objects, most=self.loss.answers)
        terms = dense_losses(seen.cells, objects, answers, giou_eps=GIOU_EPS)
        weighted = {"class": self.loss.class_weight * terms["class"], "giou": self.loss.giou_weight * terms["giou"]}
        if self.masks is not None:
            weighted |= self._mask_terms(self.masks, seen, batch, objects, answers)
        return with_total(weighted)

    def _mask_terms(
        self, head: MaskHead, seen: Seen, batch: Batch, objects: Sequence[Objects], answers: Sequence[Answers]
    ) -> dict[str, Tensor]:
        """The mean over all cells that answer for an outlined object."""
        outlined = Outlined.of(objects, batch.targets, batch.inputs["valid_hw"])
        said = Said(seen.cells.logits_BNC, seen.cells.box_BN4, seen.stream_BNC)
        matches = [Match(each.cell_P, each.object_P) for each in answers]
        weights = MaskWeights(self.loss.mask_weight, self.loss.dice_weight)
        scorer = MaskScorer.of(
            head,
            head.features(seen.mask_maps),
            outlined,
            said,
            matches,
            weights=weights,
            points=self.loss.mask_points,
        )
        return scorer(said, matches, groups=outlined.answered(matches))

    def part_prefixes(self) -> tuple[str, ...]:
        """The mask head."""
        return ("masks.",)

    def head_prefixes(self) -> tuple[str, ...]:
        """The last layer of the classes alone has a row a class."""
        return ("head.classes.",)


def _convolution(width: int) -> nn.Sequential:
    layer = nn.Conv2d(width, width, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight)
    return nn.Sequential(layer, nn.GroupNorm(math.gcd(GROUPS, width), width), nn.ReLU())


def _answer(width: int, values: int, *, at_first: float) -> nn.Conv2d:
    """A convolution that says nearly the same everywhere before training."""
    layer = nn.Conv2d(width, values, 3, padding=1)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(layer.bias, at_first)  # type: ignore[arg-type]  # made with a bias above
    return layer


def _by_cell(map_BCHW: Tensor) -> Tensor:
    return map_BCHW.flatten(2).transpose(1, 2)


def _corners(map_BCHW: Tensor, stride: int) -> Tensor:
    """(HW, 2): x and y of the cells' upper left corners in pixels of the input, row by row."""
    height, width = map_BCHW.shape[2:]
    y_H1 = torch.arange(height, device=map_BCHW.device)[:, None]
    x_1W = torch.arange(width, device=map_BCHW.device)[None]
    cell_HW2 = torch.stack([x_1W + 0 * y_H1, y_H1 + 0 * x_1W], -1)
    return cell_HW2.reshape(-1, 2) * stride
