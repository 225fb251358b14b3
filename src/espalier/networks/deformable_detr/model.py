"""Deformable DETR (Zhu et al., 2020): plain, with box refinement, and two-stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from espalier.layers.deformable_transformer import DecoderLayer, best_tokens, on_levels, proposals, refined
from espalier.layers.detr import Encoded, Said, box_head, class_head
from espalier.layers.model import Batch
from espalier.layers.positions import box_positions
from espalier.networks.detector import labelled, with_total
from espalier.networks.object_queries import ObjectQueries, of_any_class

if TYPE_CHECKING:
    from espalier.networks.deformable_detr.spec import DeformableDetrSpec

EPS = 1e-5  # of the inverse sigmoid
BOX_NUMBERS = (0, 1, 2, 3)  # cx, cy, w, h: the order of a box's positions


class Decoder(nn.Module):
    """Queries to boxes, layer by layer. Without refinement all layers share one class and one box head."""

    def __init__(self, spec: DeformableDetrSpec, classes: int) -> None:
        super().__init__()
        self.refine, self.two_stage = spec.refine, spec.two_stage
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
        heads = spec.decoder_layers + spec.two_stage if spec.refine else 1 + spec.two_stage
        self.class_heads = nn.ModuleList(class_head(spec.width, classes) for _ in range(heads))
        self.box_heads = nn.ModuleList(
            box_head(spec.width, size_logit=-2.0 if n == 0 and not spec.two_stage else 0.0) for n in range(heads)
        )

    def forward(self, stream_BQC: Tensor, position_BQC: Tensor, reference_BQx: Tensor, encoded: Encoded) -> list[Said]:
        """Each layer's answer. With refinement a layer starts from the box of the one before, cut from its gradient."""
        said = []
        for n, layer in enumerate(self.layers):
            on_maps = on_levels(reference_BQx, encoded.tokens.valid_ratio_BL2)
            stream_BQC = layer(stream_BQC, position_BQC, on_maps, encoded.memory_BNC, encoded.tokens)
            head = n if self.refine else 0
            box = refined(self.box_heads[head](stream_BQC), reference_BQx, eps=EPS)
            said.append(Said(self.class_heads[head](stream_BQC), box))
            if self.refine:
                reference_BQx = box.detach()
        return said


class TwoStage(nn.Module):
    """The encoder's best tokens as the decoder's queries."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.output = nn.Linear(width, width)
        self.output_norm = nn.LayerNorm(width)
        self.query = nn.Linear(2 * width, 2 * width)
        self.query_norm = nn.LayerNorm(2 * width)
        self.width = width

    def forward(
        self, encoded: Encoded, class_head: nn.Module, box_head: nn.Module, queries: int
    ) -> tuple[Said, Tensor, Tensor]:
        """Every token's answer, the chosen boxes (B, Q, 4), and the queries' positions and contents (B, Q, 2C)."""
        start, memory = proposals(encoded.tokens, encoded.memory_BNC)
        memory = self.output_norm(self.output(memory))
        logits, box_logits = class_head(memory), box_head(memory) + start
        chosen = best_tokens(logits[..., 0], queries)[..., None].expand(-1, -1, 4)
        reference = box_logits.gather(1, chosen).detach().sigmoid()
        query = self.query_norm(self.query(box_positions(reference, self.width // 2, order=BOX_NUMBERS)))
        return Said(logits, box_logits.sigmoid()), reference, query


def build(spec: DeformableDetrSpec, classes: Sequence[str]) -> DeformableDetr:
    """A fresh detector with random weights. Raises InputError for an unknown backbone."""
    return DeformableDetr(spec, classes)


class DeformableDetr(ObjectQueries):
    """`image` (B, bands, H, W) and `valid_hw` (B, 2), its part that is picture, to `logits` and `boxes`."""

    def __init__(self, spec: DeformableDetrSpec, classes: Sequence[str]) -> None:
        super().__init__(spec, temperature=10000.0, centred=True, giou_eps=0.0)
        self.queries = spec.queries
        self.decoder = Decoder(spec, len(classes))
        if spec.two_stage:
            self.two_stage: TwoStage | None = TwoStage(spec.width)
        else:
            self.two_stage = None
            self.query = nn.Embedding(spec.queries, 2 * spec.width)
            self.reference = nn.Linear(spec.width, 2)
            nn.init.xavier_uniform_(self.reference.weight)
            nn.init.zeros_(self.reference.bias)

    def answers(self, encoded: Encoded) -> tuple[list[Said], Said | None]:
        """Each decoder layer's answer, and in two stages every token's own."""
        if self.two_stage is None:
            batch = encoded.memory_BNC.shape[0]
            position, content = self.query.weight[None].expand(batch, -1, -1).chunk(2, -1)
            return self.decoder(content, position, self.reference(position).sigmoid(), encoded), None
        heads = self.decoder.class_heads[-1], self.decoder.box_heads[-1]
        first, reference, query = self.two_stage(encoded, *heads, self.queries)
        position, content = query.chunk(2, -1)
        return self.decoder(content, position, reference, encoded), first

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The set loss of every layer; of the encoder's tokens too, told only that there is an object."""
        objects = labelled(batch)
        said, first = self.answers(self.encode(**batch.inputs))
        terms = self.layer_terms(said, objects)
        if first is not None:
            terms["encoder"] = self.criterion.weights.total(self.criterion(first, of_any_class(objects)))
        return with_total(terms)

    def head_prefixes(self) -> tuple[str, ...]:
        """The class heads have a row a class."""
        return ("decoder.class_heads.",)

    def any_object_prefixes(self) -> tuple[str, ...]:
        """The encoder's head, the last, says in its first row whether there is an object."""
        return () if self.two_stage is None else (f"decoder.class_heads.{len(self.decoder.class_heads) - 1}.",)
