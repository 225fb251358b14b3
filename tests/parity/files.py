"""A parity file as it lies on the disk: NAME.json, and NAME.npz where it has arrays."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity.errors import CheckError

Array = NDArray[Any]
FLOAT64 = "@float64"


@dataclass(frozen=True)
class ParityFile:
    """The document and its arrays, which agree with what the document says of them."""

    name: str
    document: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)

    @property
    def constructor(self) -> Mapping[str, Any]:
        """What the reference was built with; empty where the file is of a function and not of a network."""
        found = self.document.get("constructor")
        return found if isinstance(found, dict) else {}

    @property
    def kind(self) -> str:
        """What the file is of, in its own words; '' where its constructor says it."""
        return str(self.document.get("kind", ""))


def names(folder: Path) -> list[str]:
    """The names of the pairs in a folder, also of an NPZ that has lost its JSON."""
    return sorted({path.stem for path in folder.iterdir() if path.suffix in (".json", ".npz")})


def read(folder: Path, name: str) -> ParityFile:
    """The pair. Raises CheckError for one that is truncated, or whose halves contradict each other."""
    file = ParityFile(name, _document(folder / f"{name}.json"), _arrays(folder / f"{name}.npz"))
    wrong = [*_listed_arrays(file), *_described_outputs(file)]
    if wrong:
        raise CheckError("; ".join(wrong[:3]))
    return file


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckError(f"{path.name} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise CheckError(f"{path.name} can't be read: {error}") from None
    if not isinstance(document, dict):
        raise CheckError(f"{path.name} holds no object")
    return document


def _arrays(path: Path) -> dict[str, Array]:
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, KeyError) as error:
        raise CheckError(f"{path.name} can't be read: {error}") from None


def _listed_arrays(file: ParityFile) -> Iterator[str]:
    """Files of functions list every array with shape and type."""
    listed = file.document.get("arrays", {})
    for key in sorted(listed.keys() ^ file.arrays.keys()) if listed else ():
        yield f"{key} is {'not in the npz' if key in listed else 'not listed'}"
    for key in listed.keys() & file.arrays.keys():
        shape, dtype = listed[key]
        found = file.arrays[key]
        if (list(found.shape), found.dtype.name) != (shape, dtype):
            yield f"{key} is {found.dtype.name} {list(found.shape)}, listed as {dtype} {shape}"


def _described_outputs(file: ParityFile) -> Iterator[str]:
    """Files of networks describe every output. (Other files may use the word for something else.)"""
    outputs = file.document.get("outputs", {}) if file.constructor else {}
    for key, described in outputs.items():
        size = _stored_shape(described)
        found = file.arrays.get(key)
        if found is None:
            yield f"{key} is not in the npz"
        elif size is not None and found.shape != size:
            yield f"{key} is stored as {found.shape}, described as {size}"
        exact = described.get("float64")
        if exact is not None and (exact not in file.arrays or file.arrays[exact].dtype != np.float64):
            yield f"{exact} is not in the npz as float64"
        elif exact is not None and found is not None and file.arrays[exact].shape != found.shape:
            yield f"{exact} is {file.arrays[exact].shape}, not {found.shape}"
    told = {described.get("float64") for described in outputs.values()}
    yield from (f"{key} is not described" for key in file.arrays if key.endswith(FLOAT64) and key not in told)


def _stored_shape(described: Mapping[str, Any]) -> tuple[int, ...] | None:
    """What shape the stored array must have, None where the document says it in its own words."""
    shape = tuple(described.get("shape", ()))
    if described.get("stored") == "all":
        return shape
    if described.get("stored") == "sample":
        return (int(described.get("n", -1)),)
    return None
