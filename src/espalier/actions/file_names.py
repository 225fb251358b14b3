"""Names for files that actions write of a picture."""

from __future__ import annotations

import re

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def file_name(name: str) -> str:
    """The last part of a picture's name without its ending, in letters that any file may have."""
    last = re.split(r"[/\\]", name.split("::")[0].split("?")[0].rstrip("/\\"))[-1]
    return UNSAFE.sub("_", last.rpartition(".")[0] or last)[:80] or "picture"
