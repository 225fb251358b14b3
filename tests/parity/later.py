"""What parity files there are of networks that the product doesn't have yet.

A checker in `families/` that claims a file goes before this table, so a network that arrives changes nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from parity.files import ParityFile


@dataclass(frozen=True)
class Later:
    """Files of a network to come, by a pattern of their kind."""

    network: str
    kind: str

    def claims(self, file: ParityFile) -> bool:
        """Does the file say that it is of it?"""
        return re.fullmatch(self.kind, file.kind) is not None


LATER = (
    Later("mask auto-labelling", kind="mal .*|mask IoU / mIoU"),
    Later("text detection", kind="dbnet .*|icdar.* hmean"),
    Later("text recognition", kind="ocr .*|tps grid"),
    Later("optical inspection", kind="siamese .*"),
    Later("metric learning", kind="metric learning"),
)


def claimed_by(file: ParityFile) -> str:
    """The network that will check the file, by its kind; '' when none is known."""
    return next((later.network for later in LATER if later.claims(file)), "")
