"""What a family's checker offers, and how checkers are found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol

from parity import families as room
from parity.files import ParityFile
from parity.findings import Finding


class Checker(Protocol):
    """Checks the files of one family."""

    def claims(self, file: ParityFile) -> bool:
        """Is the file of this family, of whatever size? By its constructor, else by its kind."""

    def check(self, file: ParityFile) -> Iterator[Finding]:
        """Every comparison that the file asks. Raises CheckError for a size that can't be made, or a broken file."""


@lru_cache(maxsize=1)
def checkers() -> Sequence[Checker]:
    """Every checker that lies in `families/`."""
    found = sorted(module.name for module in pkgutil.iter_modules(room.__path__))
    return [importlib.import_module(f"{room.__name__}.{name}").CHECKER for name in found]
