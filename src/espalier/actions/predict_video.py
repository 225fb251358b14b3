"""Answers as drawn video: H.264 in mp4, by PyAV, with the source's own times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from espalier import storage
from espalier.actions.file_names import file_name
from espalier.actions.predict_answer import Answer
from espalier.errors import MissingExtraError, Problem, StorageError
from espalier.runtime.video import FrameQuery

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

ENCODERS = ("libx264", "libopenh264")
_LOOKS = {"crf": "20", "preset": "veryfast"}
_BT709, _LIMITED = 1, 1  # FFmpeg's numbers
_WENT_BACK_S = 1


class DrawnVideos:
    """`videos/NAME.mp4` for each video; a new one where the size of the frames changes. Sound is not kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = storage.make_folder(folder / "videos")
        self._names: set[str] = set()
        self._film: _Film | None = None

    def add(self, answer: Answer) -> None:
        """One frame. Pictures are left out."""
        frame = answer.frame
        if frame is None:
            return
        image_HW3 = padded(answer.drawn_HWC)
        if self._film is None or not self._film.goes_on(frame, image_HW3):
            self._end()
            self._film = _Film(self._free(file_name(frame.video)), frame, image_HW3)
        self._film.add(frame, image_HW3)

    def failed(self, name: str, error: str) -> None:
        """There is no frame to draw on."""

    def close(self) -> list[str]:
        """The videos."""
        self._end()
        return ["videos/"]

    def _end(self) -> None:
        if self._film is not None:
            self._film.close()
        self._film = None

    def _free(self, stem: str) -> Path:
        number, name = 2, stem
        while name.lower() in self._names:
            name, number = f"{stem}-{number}", number + 1
        self._names.add(name.lower())
        return self._folder / f"{name}.mp4"


class _Film:
    """One mp4 that grows."""

    def __init__(self, path: Path, first: FrameQuery, image_HW3: NDArray[np.uint8]) -> None:
        self._av = _pyav()
        self._path, self._video, self._shape = path, first.video, image_HW3.shape
        self._start, self._last, self._time_base = first.pts, -1, first.time_base
        codec = next((name for name in ENCODERS if name in self._av.codecs_available), "")
        if not codec:
            raise StorageError(Problem(str(path), "this PyAV can't write H.264", fix="pip install 'av' from PyPI"))
        with storage.writing(path):
            self._container: OutputContainer = self._av.open(f"file:{path}", "w", format="mp4")  # it may hold a colon
        self._stream: VideoStream = self._container.add_stream(codec, rate=first.rate, options=_LOOKS)
        self._stream.height, self._stream.width = image_HW3.shape[:2]
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = first.time_base
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED

    def goes_on(self, frame: FrameQuery, image_HW3: NDArray[np.uint8]) -> bool:
        """Is it the next frame of this very video?"""
        return frame.video == self._video and image_HW3.shape == self._shape and frame.time_base == self._time_base

    def add(self, frame: FrameQuery, image_HW3: NDArray[np.uint8]) -> None:
        """The frame at its time, counted from the first; later than the one before also where the source errs, or where
        a stream's clock begins anew."""
        made = self._av.VideoFrame.from_ndarray(image_HW3, format="rgb24")
        made = made.reformat(format="yuv420p", dst_colorspace="itu709")
        made.time_base = frame.time_base
        if (frame.pts - self._start - self._last) * frame.time_base < -_WENT_BACK_S:
            self._start = frame.pts - self._last - 1
        made.pts = self._last = max(self._last + 1, frame.pts - self._start)
        self._mux(made)

    def close(self) -> None:
        """Writes what the encoder still holds."""
        try:
            self._mux(None)
        finally:
            with storage.writing(self._path):
                self._container.close()

    def _mux(self, frame: Any) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except (self._av.FFmpegError, OSError) as error:
            what = f"the video can't be written: {getattr(error, 'strerror', None) or error}"
            raise StorageError(Problem(str(self._path), what)) from error


def padded(image_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with even sides, as H.264 needs them: its last row or column twice where one is odd."""
    height, width = image_HW3.shape[:2]
    return np.ascontiguousarray(np.pad(image_HW3, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def _pyav() -> Any:
    try:
        import av
    except ModuleNotFoundError:
        raise MissingExtraError("video", "writing a video") from None
    return av
