"""Which extra brings which module, so that what is missing is told with the line that installs it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from espalier.errors import MissingExtraError

MODULES: Mapping[str, tuple[str, ...]] = {
    "train": ("torch", "torchvision", "timm", "lightning_fabric", "safetensors", "onnx", "onnxscript"),
    "video": ("av",),
    "track": ("edgefirst",),
    "s3": ("s3fs",),
    "gcs": ("gcsfs",),
    "azure": ("adlfs",),
}
"""Extra → the modules that only it installs. The first one tells whether it is there."""


def require(extra: str | None, needed_for: str) -> None:
    """Raises MissingExtraError when the extra isn't installed. Looks, and imports nothing."""
    if extra is not None and importlib.util.find_spec(MODULES[extra][0]) is None:
        raise MissingExtraError(extra, needed_for)


@contextmanager
def named(needed_for: str) -> Iterator[None]:
    """Turns the import of a module that isn't there into MissingExtraError, when an extra brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = next((extra for extra, modules in MODULES.items() if module in modules), None)
        if extra is None:
            raise
        raise MissingExtraError(extra, needed_for) from error
