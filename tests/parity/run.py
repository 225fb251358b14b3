"""Checking a folder, file by file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from espalier.errors import EspalierError
from parity import files, later, report
from parity.checker import Checker, checkers
from parity.errors import CheckError
from parity.report import FAIL, LATER, Result


def check_folder(folder: Path, *, by: Sequence[Checker] | None = None) -> Iterator[Result]:
    """A result for each file of the folder, in the order of their names."""
    return (check_file(folder, name, by=by) for name in files.names(folder))


def check_file(folder: Path, name: str, *, by: Sequence[Checker] | None = None) -> Result:
    """The result of one file; whatever goes wrong is its FAIL, so that the other files keep their lines."""
    start = time.perf_counter()
    try:
        file = files.read(folder, name)
        chosen = next((checker for checker in (checkers() if by is None else by) if checker.claims(file)), None)
        if chosen is None:
            return _unclaimed(file)
        return report.of_findings(name, list(chosen.check(file)), time.perf_counter() - start)
    except (CheckError, EspalierError) as error:
        return Result(name, FAIL, (), str(error))
    except Exception as error:  # noqa: BLE001 - a defect of a network or a checker is a FAIL with its name
        return Result(name, FAIL, (), f"{type(error).__name__}: {error}")


def _unclaimed(file: files.ParityFile) -> Result:
    network = later.claimed_by(file)
    if network:
        return Result(file.name, LATER, (), f"comes with {network}")
    asked = f"constructor {dict(file.constructor)}" if file.constructor else f"kind '{file.kind}'"
    return Result(file.name, FAIL, (), f"no family is known for its {asked[:120]}")
