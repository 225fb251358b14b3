"""Does an ONNX graph want to read other files? Told from its bytes, for runtimes that would just open them.

protobuf's wire format and the field numbers of onnx.proto (Apache-2.0) are all that is needed; `onnx` itself is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

# Message → number of a field → the message in it: every way that leads to a tensor.
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL = (13, 14)  # of a tensor: external_data, data_location
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def reads_files(model: bytes) -> bool:
    """Is a tensor of the graph kept in another file? Raises ValueError for bytes that are no protobuf message."""
    waiting: list[tuple[str, memoryview]] = [("model", memoryview(model))]
    while waiting:
        kind, data = waiting.pop()
        for number, content in _fields(data):
            if kind == "tensor" and number in _EXTERNAL and (content is None or len(content)):
                return True
            inside = _INSIDE[kind].get(number)
            if inside is not None and content is not None:
                waiting.append((inside, content))
    return False


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """(number, its bytes) of each field; None for one that is a number other than 0, and those of 0 are left out."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            if value:
                yield number, None
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_EIGHT, _FOUR):
            size = 8 if wire == _EIGHT else 4
        else:
            raise ValueError(f"the wire type {wire} is unknown")
        if at + size > len(data):
            raise ValueError("a field ends behind its message")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value, place behind it)."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")
