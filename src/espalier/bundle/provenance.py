"""A spec as it may travel: without the paths of the machine it was used on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_PATH = re.compile(r"^(?:[/~\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|file:)")
_SECTIONS = ("spec_version", "seed", "licences", "network", "data", "train")
_PLACES = {"train", "val", "test", "images"}
"""Fields of `data` that say where pictures lie."""


def portable(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a spec that made the model, every path in them cut down to its last name.

    Class names and other words stay as they are, also those with slashes.
    """
    kept = {name: _without_paths(spec[name]) for name in _SECTIONS if name in spec}
    if isinstance(kept.get("data"), dict):
        kept["data"] = {k: last_name(v) if k in _PLACES and isinstance(v, str) else v for k, v in spec["data"].items()}
    return kept


def last_name(path: str) -> str:
    """The last part of a path or address: `/home/ann/photos/` → `photos`."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_paths(item) for item in value]
    return last_name(value) if isinstance(value, str) and _PATH.match(value) else value
