"""Small videos drawn for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

TIMES_MS = (0, 40, 65, 140, 180, 400, 401, 500)


def moving(number: int, size_hw: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """A white square that moves to the right, and a green corner at the top left."""
    image = np.zeros((*size_hw, 3), np.uint8)
    image[20:36, 4 + 2 * number : 20 + 2 * number] = 255
    image[:8, :8] = (0, 255, 0)
    return image


def write_clip(
    path: Path,
    *,
    times_ms: Sequence[int] = TIMES_MS,
    rotate_deg: int = 0,
    draw: Callable[[int], NDArray[np.uint8]] = moving,
    codec: str = "libx264",
) -> Path:
    """A clip whose frames are shown at these times."""
    av = pytest.importorskip("av")
    height, width = draw(0).shape[:2]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options={"crf": "5", "g": "4", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotate_deg:
            stream.set_display_rotation(rotate_deg)
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def spoil(path: Path, numbers: Sequence[int]) -> None:
    """Overwrites the packets of these frames with nonsense."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        start, size = packets[number]
        data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
