"""Deformable DETR's knobs."""

from __future__ import annotations

from espalier.networks.object_queries_spec import ObjectQueriesSpec
from espalier.spec.fields import knob


class DeformableDetrSpec(ObjectQueriesSpec):
    """Deformable DETR on any backbone: plain, with box refinement, and two-stage."""

    name: str = knob("deformable_detr", "The network's name")
    refine: bool = knob(True, "Each decoder layer refines the boxes of the one before")
    two_stage: bool = knob(True, "The encoder's best tokens become the queries")

    @property
    def picks_queries(self) -> bool:
        """Only where the encoder proposes them."""
        return self.two_stage
