"""What the labels of a picture say nothing of: regions that nobody labelled, and classes that nobody looked for.

There a network's answer is neither right nor wrong, so that it is not taught that nothing is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.layers.boxes import share_inside, to_corners

EVERY_CLASS = -1
MOSTLY = 0.5  # of a box's own area: COCO's rule for boxes in a crowd


@dataclass(frozen=True)
class Unsaid:
    """Of one picture: K regions, each of a class or of every one (-1); and U classes, wherever they are.

    Boxes are cx, cy, w, h relative to the picture.
    """

    class_K: Tensor
    box_K4: Tensor
    class_U: Tensor

    def of_any_class(self) -> Unsaid:
        """The same for answers that only tell objects from none: what is unsaid of one class is so of all."""
        every = torch.full_like
        return Unsaid(every(self.class_K, EVERY_CLASS), self.box_K4, every(self.class_U, EVERY_CLASS))

    def silent(self, box_Q4: Tensor, classes: int) -> Tensor:
        """(Q, C), true where a box of that class is neither right nor wrong: mostly in a region, or of an own class."""
        within_QK = share_inside(to_corners(box_Q4)[:, None], to_corners(self.box_K4)[None]) >= MOSTLY
        silent_QC = within_QK.float() @ _concerns(self.class_K, classes).float() > 0
        return silent_QC | _concerns(self.class_U, classes).any(0)


def silent(box_BQ4: Tensor, unsaid: Sequence[Unsaid | None], classes: int) -> Tensor | None:
    """(B, Q, C), true where an answer is neither right nor wrong; None where the labels say everything."""
    if not any(unsaid):
        return None
    found_BQC = torch.zeros(*box_BQ4.shape[:2], classes, dtype=torch.bool, device=box_BQ4.device)
    for n, each in enumerate(unsaid):
        if each is not None:
            found_BQC[n] = each.silent(box_BQ4[n].detach(), classes)
    return found_BQC


def _concerns(class_N: Tensor, classes: int) -> Tensor:
    """(N, C)."""
    return (class_N[:, None] == torch.arange(classes, device=class_N.device)) | (class_N[:, None] == EVERY_CLASS)
