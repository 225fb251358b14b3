"""DINO (Zhang et al., 2022): mixed query selection, contrastive denoising, look forward twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from espalier.layers.deformable_transformer import DecoderLayer, Perceptron, on_levels, proposals, refined
from espalier.layers.detr import Encoded, Said, box_head, class_head
from espalier.layers.model import Batch
from espalier.layers.positions import box_positions
from espalier.networks.dino.denoising import Denoising, Draws, Noised
from espalier.networks.object_queries import ObjectQueries, labelled, with_total

if TYPE_CHECKING:
    from espalier.networks.dino.spec import DinoSpec

EPS = 1e-3  # of the inverse sigmoid
BOX_NUMBERS = (1, 0, 2, 3)  # cy, cx, w, h: the order of a box's positions


class Decoder(nn.Module):
    """Boxes to better boxes. All layers share one class and one box head.

    Look forward twice: the box that a layer hands on is refined from its un-normed stream, and is cut from the
    gradient only as the next layer's input; the box that it is scored on is refined from its normed stream and the
    uncut box of the layer before.
    """

    def __init__(self, spec: DinoSpec, classes: int) -> None:
        super().__init__()
        self.width = spec.width
        self.layers = nn.ModuleList(
            DecoderLayer(
                spec.width,
                spec.hidden,
                heads=spec.heads,
                levels=spec.levels,
                points=spec.points,
                dropout=spec.dropout,
            )
            for _ in range(spec.decoder_layers)
        )
        self.norm = nn.LayerNorm(spec.width)
        self.position = Perceptron(2 * spec.width, spec.width, spec.width, 2)
        self.class_head = class_head(spec.width, classes)
        self.box_head = box_head(spec.width, size_logit=0.0)

    def forward(
        self, stream_BQC: Tensor, reference_BQ4: Tensor, encoded: Encoded, blocked_QQ: Tensor | None
    ) -> list[Said]:
        """Each layer's answer."""
        said, uncut = [], reference_BQ4
        for layer in self.layers:
            on_maps = on_levels(reference_BQ4, encoded.tokens.valid_ratio_BL2)
            place = box_positions(on_maps[:, :, 0], self.width // 2, order=BOX_NUMBERS).to(stream_BQC.dtype)
            stream_BQC = layer(
                stream_BQC, self.position(place), on_maps, encoded.memory_BNC, encoded.tokens, blocked_QQ
            )
            normed = self.norm(stream_BQC)
            said.append(Said(self.class_head(normed), refined(self.box_head(normed), uncut, eps=EPS)))
            uncut = refined(self.box_head(stream_BQC), reference_BQ4, eps=EPS)
            reference_BQ4 = uncut.detach()
        return said


class Chosen(NamedTuple):
    """The queries that the encoder's tokens give: their boxes, cut from the gradient, and what is said of them."""

    box_BQ4: Tensor
    said: Said
    start_BQ4: Tensor  # the boxes that the tokens started from


class Selection(nn.Module):
    """The tokens whose best class is surest; their boxes become queries, whose contents are learnt."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.output = nn.Linear(width, width)
        self.output_norm = nn.LayerNorm(width)
        self.class_head = class_head(width, classes)
        self.box_head = box_head(width, size_logit=0.0)

    def forward(self, encoded: Encoded, queries: int) -> Chosen:
        """The chosen tokens' boxes and answers."""
        start, memory = proposals(encoded.tokens, encoded.memory_BNC)
        memory = self.output_norm(self.output(memory))
        logits, box_logits = self.class_head(memory), self.box_head(memory) + start
        best = logits.max(-1).values.topk(queries, dim=1).indices[..., None]
        box = box_logits.gather(1, best.expand(-1, -1, 4))
        said = Said(logits.gather(1, best.expand(-1, -1, logits.shape[-1])), box.sigmoid())
        return Chosen(box.detach().sigmoid(), said, start.gather(1, best.expand(-1, -1, 4)).sigmoid())


def build(spec: DinoSpec, classes: Sequence[str]) -> Dino:
    """A fresh detector with random weights. Raises InputError for an unknown backbone."""
    return Dino(spec, classes)


class Dino(ObjectQueries):
    """`image` (B, bands, H, W) and `valid_hw` (B, 2), its part that is picture, to `logits` and `boxes`."""

    def __init__(self, spec: DinoSpec, classes: Sequence[str]) -> None:
        super().__init__(spec, temperature=20.0, centred=False, giou_eps=1e-6)
        self.queries = spec.queries
        self.selection = Selection(spec.width, len(classes))
        self.content = nn.Embedding(spec.queries, spec.width)
        self.decoder = Decoder(spec, len(classes))
        self.denoising = Denoising(spec.denoising, len(classes), spec.width) if spec.denoising.queries else None

    def answers(self, encoded: Encoded, noised: Noised | None = None) -> tuple[list[Said], Said]:
        """Each decoder layer's answer (those to noised queries first), and the chosen tokens' own."""
        chosen = self.selection(encoded, self.queries)
        content = self.content.weight[None].expand(encoded.memory_BNC.shape[0], -1, -1)
        reference, blocked = chosen.box_BQ4, None
        if noised is not None:
            content = torch.cat([noised.content_BQC.to(content.dtype), content], 1)
            reference = torch.cat([noised.box_logits_BQ4.sigmoid(), reference], 1)
            blocked = noised.blocked(self.queries)
        return self.decoder(content, reference, encoded, blocked), chosen.said

    def losses(self, batch: Batch, draws: Draws | None = None) -> dict[str, Tensor]:
        """The set loss of every layer, of the chosen tokens, and of the noised queries, whose objects are known."""
        objects = labelled(batch)
        noised = None if self.denoising is None else self.denoising(objects, draws)
        said, first = self.answers(self.encode(**batch.inputs), noised)
        count = 0 if noised is None else noised.count
        plain = [Said(each.logits_BQC[:, count:], each.box_BQ4[:, count:]) for each in said]
        terms = self.layer_terms(plain, objects)
        terms["encoder"] = self.criterion.weights.total(self.criterion(first, objects))
        if noised is not None and count:
            terms["denoising"] = self._denoised(said, noised)
        return with_total(terms)

    def _denoised(self, said: Sequence[Said], noised: Noised) -> Tensor:
        """The weighted loss of the noised queries, over all layers."""
        parts = [Said(each.logits_BQC[:, : noised.count], each.box_BQ4[:, : noised.count]) for each in said]
        criterion = self.criterion
        terms = [criterion.scored(part, noised.objects, noised.matches, noised.divisor) for part in parts]
        return torch.stack([criterion.weights.total(each) for each in terms]).sum()

    def head_prefixes(self) -> tuple[str, ...]:
        """Class heads and the labels of noised queries have a row a class."""
        return ("decoder.class_head.", "selection.class_head.", "denoising.label.")
