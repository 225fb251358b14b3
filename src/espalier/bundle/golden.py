"""`golden/`: queries, prepared inputs, raw outputs and predictions that prove any copy on any machine."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from espalier.bundle.files import damaged

FOLDER = "golden"
PREDICTIONS = f"{FOLDER}/predictions.json"


_UNREADABLE = (ValueError, SyntaxError, TypeError, EOFError, RecursionError, MemoryError, tokenize.TokenError)
"""What numpy raises on headers that it can't parse."""


class Reader(Protocol):
    """Whatever reads a checked file of the bundle by name, and says which there are."""

    def read(self, name: str) -> bytes: ...

    def listed(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class GoldenSet:
    """N questions and what the model answered when it was exported. R inputs: N, or more where a picture is cut into
    tiles, each of which is one."""

    queries: Sequence[Mapping[str, NDArray[Any]]]  # N: the query's arrays by field name
    inputs: Mapping[str, NDArray[Any]]  # (R, …) after prepare
    outputs: Mapping[str, NDArray[Any]]  # (R, …) raw, of the exported graph
    predictions: Sequence[Any]  # N, as JSON data

    @property
    def count(self) -> int:
        """N."""
        return len(self.queries)

    @property
    def rows_count(self) -> int:
        """R."""
        return len(next(iter(self.inputs.values())))

    def rows(self, chosen: slice) -> dict[str, NDArray[Any]]:
        """Some of the inputs, as one batch."""
        return {name: array[chosen] for name, array in self.inputs.items()}


def query_arrays(query: Any) -> dict[str, NDArray[Any]]:
    """The arrays of a query (a frozen dataclass) by field name."""
    values = {f.name: getattr(query, f.name) for f in dataclasses.fields(query)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def to_files(golden: GoldenSet) -> dict[str, bytes]:
    """File name → bytes; the same set gives the same bytes."""
    arrays = {f"query.{i:03d}.{name}": a for i, query in enumerate(golden.queries) for name, a in query.items()}
    arrays |= {f"input.{name}": array for name, array in golden.inputs.items()}
    arrays |= {f"output.{name}": array for name, array in golden.outputs.items()}
    files = {f"{FOLDER}/{name}.npy": _npy(array) for name, array in arrays.items()}
    predictions = json.dumps(list(golden.predictions), indent=1, ensure_ascii=False, allow_nan=False)
    return {**files, PREDICTIONS: (predictions + "\n").encode()}


def from_files(reader: Reader, count: int, where: str) -> GoldenSet:
    """The golden set of a bundle; raises ModelError where it is not whole."""
    queries: list[dict[str, NDArray[Any]]] = [{} for _ in range(count)]
    parts: dict[str, dict[str, NDArray[Any]]] = {"input": {}, "output": {}}
    for name in reader.listed():
        if not (name.startswith(f"{FOLDER}/") and name.endswith(".npy")):
            continue
        kind, _, rest = name.removeprefix(f"{FOLDER}/").removesuffix(".npy").partition(".")
        array = _array(reader.read(name), f"{where}: {name}")
        number, _, field = rest.partition(".")
        if kind == "query" and number.isdecimal() and int(number) < count and field:
            queries[int(number)][field] = array
        elif kind in parts:
            parts[kind][rest] = array
    predictions = _predictions(reader.read(PREDICTIONS), where)
    golden = GoldenSet(queries, parts["input"], parts["output"], predictions)
    _check_counts(golden, where)
    return golden


def _check_counts(golden: GoldenSet, where: str) -> None:
    arrays = [*golden.inputs.values(), *golden.outputs.values()]
    whole = golden.inputs and golden.outputs and len(golden.predictions) == golden.count and all(golden.queries)
    rows = {len(array) if array.ndim else 0 for array in arrays}
    if not whole or len(rows) != 1 or rows.pop() < golden.count:
        raise damaged(f"{where}: {FOLDER}", f"does not hold the {golden.count} queries and what they gave")


def _predictions(data: bytes, where: str) -> list[Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise damaged(f"{where}: {PREDICTIONS}", "is not a JSON list")
    return found


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _array(data: bytes, where: str) -> NDArray[Any]:
    """The array of a .npy file. Its header must say just as many bytes as there are: it could ask for any memory."""
    buffer = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(buffer) != (1, 0):
            raise ValueError("not version 1.0 of the .npy format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    except _UNREADABLE as error:
        raise damaged(where, f"is not a readable .npy file: {error}") from None
    rest = data[buffer.tell() :]
    if dtype.kind not in "fiub" or fortran or math.prod(shape) * dtype.itemsize != len(rest):
        raise damaged(where, "is not a plain array of numbers of its stated size")
    return np.frombuffer(rest, dtype).reshape(shape).copy()
