"""Espalier: a person's own images in, a vision model that runs anywhere out.

>>> import espalier
>>> espalier.fit("photos/")                                   # doctest: +SKIP
>>> espalier.load("runs/fit-001/bundle").predict(["a.jpg"])   # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "fit": "espalier.actions.api",
    "train": "espalier.actions.api",
    "evaluate": "espalier.actions.api",
    "compare": "espalier.actions.api",
    "predict": "espalier.actions.api",
    "explain": "espalier.actions.api",
    "export": "espalier.actions.api",
    "verify": "espalier.actions.api",
    "reproduce": "espalier.actions.api",
    "report": "espalier.actions.api",
    "load": "espalier.runtime.model",
}

__all__ = ["__version__", *_LAZY]

if TYPE_CHECKING:
    from espalier.actions.api import compare as compare
    from espalier.actions.api import evaluate as evaluate
    from espalier.actions.api import explain as explain
    from espalier.actions.api import export as export
    from espalier.actions.api import fit as fit
    from espalier.actions.api import predict as predict
    from espalier.actions.api import report as report
    from espalier.actions.api import reproduce as reproduce
    from espalier.actions.api import train as train
    from espalier.actions.api import verify as verify
    from espalier.runtime.model import load as load


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'espalier' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
