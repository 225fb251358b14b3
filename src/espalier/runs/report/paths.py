"""Paths of the maker's machine, shortened: a page is shown to others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_ABSOLUTE = re.compile(r"""(?<![\w:/\\.…~])(?:[A-Za-z]:[\\/]|/)(?:[^\s/\\:;,'"()<>]+[\\/])+[^\s/\\:;,'"()<>]*""")
_HOME = 2  # parts that tell of a person or a machine: /home/NAME
_KEPT = 2


def shortened(value: Any) -> Any:
    """The text, or plain data that holds texts, with '…/' in place of the first parts of every absolute path."""
    if isinstance(value, str):
        return _ABSOLUTE.sub(lambda found: _tail(found[0]), value)
    if isinstance(value, Mapping):
        return {key: shortened(item) for key, item in value.items()}
    return [shortened(item) for item in value] if isinstance(value, (list, tuple)) else value


def _tail(path: str) -> str:
    parts = [part for part in re.split(r"[\\/]", path) if part and not part.endswith(":")]
    kept = parts[max(_HOME, len(parts) - _KEPT) :] or parts[-1:]
    return "…/" + "/".join(kept)
