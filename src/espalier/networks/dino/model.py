"""DINO (Zhang et al., 2022): mixed query selection, contrastive denoising, look forward twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from espalier.layers.deformable_transformer import DecoderLayer, Perceptron, best_tokens, on_levels, proposals, refined
from espalier.layers.dense_loss import Cells, all_answers, dense_losses
from espalier.layers.detr import Encoded, Said, box_head, class_head
from espalier.layers.mask_head import STRIDE, MaskHead
from espalier.layers.mask_loss import MaskScorer, MaskWeights, Outlined
from espalier.layers.matching import Match
from espalier.layers.model import Batch
from espalier.layers.positions import box_positions
from espalier.networks.detector import labelled, with_total
from espalier.networks.dino.denoising import Denoising, Draws, Noised
from espalier.networks.object_queries import ObjectQueries, added

if TYPE_CHECKING:
    from espalier.networks.dino.spec import DinoSpec

EPS = 1e-3  # of the inverse sigmoid
TOKENS = 6  # that answer for an object in the dense loss, whose idea is Co-DETR's (Zong et al., 2023)
BOX_NUMBERS = (1, 0, 2, 3)  # cy, cx, w, h: the order of a box's positions


class Decoder(nn.Module):
    """Boxes to better boxes. All layers share one class and one box head, or each has its own.

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
                points=spec.decoder_points,
                dropout=spec.dropout,
            )
            for _ in range(spec.decoder_layers)
        )
        self.norm = nn.LayerNorm(spec.width)
        self.position = Perceptron(2 * spec.width, spec.width, spec.width, 2)
        class_heads = 1 if spec.share_class_head else spec.decoder_layers
        box_heads = 1 if spec.share_box_head else spec.decoder_layers
        self.class_heads = nn.ModuleList(class_head(spec.width, classes) for _ in range(class_heads))
        self.box_heads = nn.ModuleList(box_head(spec.width, size_logit=0.0) for _ in range(box_heads))

    def forward(
        self, stream_BQC: Tensor, reference_BQ4: Tensor, encoded: Encoded, blocked_QQ: Tensor | None
    ) -> list[Said]:
        """Each layer's answer."""
        said, uncut = [], reference_BQ4
        for n, layer in enumerate(self.layers):
            classes, boxes = self.class_heads[n % len(self.class_heads)], self.box_heads[n % len(self.box_heads)]
            on_maps = on_levels(reference_BQ4, encoded.tokens.valid_ratio_BL2)
            place = box_positions(on_maps[:, :, 0], self.width // 2, order=BOX_NUMBERS).to(stream_BQC.dtype)
            stream_BQC = layer(
                stream_BQC, self.position(place), on_maps, encoded.memory_BNC, encoded.tokens, blocked_QQ
            )
            normed = self.norm(stream_BQC)
            said.append(Said(classes(normed), refined(boxes(normed), uncut, eps=EPS), normed))
            uncut = refined(boxes(stream_BQC), reference_BQ4, eps=EPS)
            reference_BQ4 = uncut.detach()
        return said


def _by_layer(score: MaskScorer, said: Sequence[Said], matches: Sequence[Sequence[Match]]) -> dict[str, Tensor]:
    """The mask terms of the last layer, and those of the layers before it together."""
    *before, last = [score(*each) for each in zip(said, matches, strict=True)]
    return {**last, "auxiliary": _summed(before)} if before else last


def _summed(terms: Iterable[Mapping[str, Tensor]]) -> Tensor:
    return torch.stack([value for each in terms for value in each.values()]).sum()


class Chosen(NamedTuple):
    """The queries that the encoder's tokens give: their boxes, cut from the gradient, and what is said of them."""

    box_BQ4: Tensor
    said: Said
    token_BQ: Tensor  # which tokens, surest first
    score_BN: Tensor  # of every token: the logit of its best class
    every: Cells  # what every token says
    content_BQC: Tensor


class Selection(nn.Module):
    """The tokens whose best class is surest; their boxes become queries.

    A query's content is learnt for its place among the surest, or it is its token's own, cut from the gradient as in
    RT-DETR (Zhao et al., 2024): queries are then alike, and tokens of equal scores may change places.
    """

    def __init__(self, spec: DinoSpec, classes: int) -> None:
        super().__init__()
        self.output = nn.Linear(spec.width, spec.width)
        self.output_norm = nn.LayerNorm(spec.width)
        self.class_head = class_head(spec.width, classes) if spec.encoder_class_head else None
        self.box_head = box_head(spec.width, size_logit=0.0) if spec.encoder_box_head else None
        self.queries = spec.queries
        self.content = nn.Embedding(spec.queries, spec.width) if spec.query_content == "learnt" else None

    def forward(self, encoded: Encoded, decoder: Decoder) -> Chosen:
        """The chosen tokens' boxes and answers, by the decoder's heads where there are none of its own."""
        start, memory = proposals(encoded.tokens, encoded.memory_BNC)
        memory = self.output_norm(self.output(memory))
        classes = decoder.class_heads[0] if self.class_head is None else self.class_head
        boxes = decoder.box_heads[0] if self.box_head is None else self.box_head
        logits, box_logits = classes(memory), boxes(memory) + start
        score_BN = logits.max(-1).values
        token_BQ = best_tokens(score_BN, self.queries)
        best = token_BQ[..., None]
        box = box_logits.gather(1, best.expand(-1, -1, 4))
        said = Said(logits.gather(1, best.expand(-1, -1, logits.shape[-1])), box.sigmoid())
        first_box = start.sigmoid()
        silent_BN = (first_box >= 1).any(-1)  # what proposes nothing has infinite logits
        every = Cells(logits, box_logits.sigmoid(), first_box[..., :2], silent_BN)
        return Chosen(box.detach().sigmoid(), said, token_BQ, score_BN, every, self._content(memory, best))

    def _content(self, memory_BNC: Tensor, token_BQ1: Tensor) -> Tensor:
        if self.content is not None:
            return self.content.weight[None].expand(memory_BNC.shape[0], -1, -1)
        return memory_BNC.detach().gather(1, token_BQ1.expand(-1, -1, memory_BNC.shape[-1]))


def build(spec: DinoSpec, classes: Sequence[str]) -> Dino:
    """A fresh detector with random weights. Raises InputError for an unknown backbone."""
    return Dino(spec, classes)


class Dino(ObjectQueries):
    """`image` (B, bands, H, W) and `valid_hw` (B, 2), its part that is picture, to `logits` and `boxes`.

    With masks also to `mask_kernels` (B, Q, E) and `mask_features` (B, E, ⌈H/4⌉, ⌈W/4⌉): the logits of a query's mask
    are its kernel times the map's channels.
    """

    def __init__(self, spec: DinoSpec, classes: Sequence[str]) -> None:
        super().__init__(
            spec,
            temperature=spec.position_temperature,
            centred=spec.centred_positions,
            giou_eps=1e-6,
            fine_stride=STRIDE if spec.masks else None,
        )
        self.queries = spec.queries
        self.dense_weight = spec.loss.dense_weight
        self.selection = Selection(spec, len(classes))
        self.decoder = Decoder(spec, len(classes))
        self.denoising = Denoising(spec.denoising, len(classes), spec.width) if spec.denoising.queries else None
        self.masks = self.mask_head(spec, width=spec.width)
        self.mask_weights = MaskWeights(spec.loss.mask_weight, spec.loss.dice_weight)
        self.mask_points = spec.loss.mask_points

    def forward(self, image: Tensor, valid_hw: Tensor) -> dict[str, Tensor]:  # type: ignore[override]  # inputs by name
        """`logits` and `boxes`, and with masks `mask_kernels` and `mask_features`."""
        encoded = self.encode(image, valid_hw)
        last = self.answers(encoded)[0][-1]
        outputs = {"logits": last.logits_BQC, "boxes": last.box_BQ4}
        if self.masks is not None:
            assert last.stream_BQC is not None
            outputs["mask_kernels"] = self.masks.kernels(last.stream_BQC, last.box_BQ4)
            outputs["mask_features"] = self.masks.features(encoded.mask_maps())
        return outputs

    def answers(self, encoded: Encoded) -> tuple[list[Said], Said]:
        """Each decoder layer's answer, and the chosen tokens' own."""
        said, chosen = self.decoded(encoded, None)
        return said, chosen.said

    def decoded(self, encoded: Encoded, noised: Noised | None) -> tuple[list[Said], Chosen]:
        """Each decoder layer's answer (those to noised queries first), and what the tokens gave."""
        chosen: Chosen = self.selection(encoded, self.decoder)
        content, reference, blocked = chosen.content_BQC, chosen.box_BQ4, None
        if noised is not None:
            content = torch.cat([noised.content_BQC.to(content.dtype), content], 1)
            reference = torch.cat([noised.box_logits_BQ4.sigmoid(), reference], 1)
            blocked = noised.blocked(self.queries)
        return self.decoder(content, reference, encoded, blocked), chosen

    def losses(self, batch: Batch, draws: Draws | None = None) -> dict[str, Tensor]:
        """The set loss of every layer, of the chosen tokens, and of the noised queries, whose objects are known."""
        objects = labelled(batch)
        noised = None if self.denoising is None else self.denoising(objects, draws)
        encoded = self.encode(**batch.inputs)
        said, chosen = self.decoded(encoded, noised)
        count = 0 if noised is None else noised.count
        plain = [each.part(count, None) for each in said]
        shaken = [each.part(0, count) for each in said]
        matches = [self.criterion.matched(each, objects) for each in plain]
        terms = self.layer_terms(plain, objects, matches)
        terms["encoder"] = self.criterion.weights.total(self.criterion(chosen.said, objects))
        if self.dense_weight:
            dense = dense_losses(
                chosen.every,
                objects,
                all_answers(chosen.every, objects, most=TOKENS),
                giou_eps=self.criterion.giou_eps,
            )
            terms["dense"] = self.dense_weight * self.criterion.weights.total(dense)
        if noised is not None and count:
            terms["denoising"] = self._denoised(shaken, noised)
        if self.masks is not None:
            score = self._mask_scorer(self.masks, encoded, batch, plain[-1], matches[-1])
            terms = added(terms, _by_layer(score, plain, matches))
            if noised is not None and count:
                terms = added(
                    terms, {"denoising": _summed(score(each, noised.matches, noised.groups) for each in shaken)}
                )
        return with_total(terms)

    def _mask_scorer(
        self, head: MaskHead, encoded: Encoded, batch: Batch, said: Said, matches: Sequence[Match]
    ) -> MaskScorer:
        """Scores masks at points that are drawn once for all layers, most where the last layer is least sure."""
        outlined = Outlined.of(labelled(batch), batch.targets, batch.inputs["valid_hw"])
        features_BEhw = head.features(encoded.mask_maps())
        return MaskScorer.of(
            head, features_BEhw, outlined, said, matches, weights=self.mask_weights, points=self.mask_points
        )

    def _denoised(self, parts: Sequence[Said], noised: Noised) -> Tensor:
        """The weighted loss of the noised queries, over all layers."""
        criterion = self.criterion
        terms = [criterion.scored(part, noised.objects, noised.matches, noised.divisor) for part in parts]
        return torch.stack([criterion.weights.total(each) for each in terms]).sum()

    def part_prefixes(self) -> tuple[str, ...]:
        """The mask head."""
        return ("masks.",)

    def head_prefixes(self) -> tuple[str, ...]:
        """Class heads and the labels of noised queries have a row a class."""
        return ("decoder.class_heads.", "selection.class_head.", "denoising.label.")
