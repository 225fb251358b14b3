"""What parity files there are of networks that the product doesn't have yet.

A checker in `families/` that claims a file goes before this table, so a network that arrives changes nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from parity.files import ParityFile


@dataclass(frozen=True)
class Later:
    """Files of a network to come: their constructor's function or its keys, or a pattern of their kind."""

    network: str
    function: str = ""
    keys: frozenset[str] = frozenset()
    kind: str = ""

    def by_constructor(self, file: ParityFile) -> bool:
        """Is the file built by it?"""
        constructor = file.constructor
        if self.function and constructor.get("function") == self.function:
            return True
        return bool(self.keys) and self.keys <= constructor.keys()

    def by_kind(self, file: ParityFile) -> bool:
        """Does the file say that it is of it?"""
        return bool(self.kind) and re.fullmatch(self.kind, file.kind) is not None


LATER = (
    Later("segformer", keys=frozenset({"backbone", "decode_head"})),
    Later("mask auto-labelling", kind="mal .*|mask IoU / mIoU"),
    Later("text detection", kind="dbnet .*|icdar.* hmean"),
    Later("text recognition", kind="ocr .*|tps grid"),
    Later("optical inspection", kind="siamese .*"),
    Later("metric learning", kind="metric learning"),
)


def claimed_by(file: ParityFile) -> str:
    """The network that will check the file, by its constructor, else by its kind; '' when none is known."""
    found = [later for later in LATER if later.by_constructor(file)] or [x for x in LATER if x.by_kind(file)]
    return found[0].network if found else ""
