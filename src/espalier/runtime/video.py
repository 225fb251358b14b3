"""Videos and streams as frames, each with its own time, by PyAV. Read one by one: a long video is never in memory."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from espalier import storage
from espalier.errors import ImageError, InputError, MissingExtraError, Problem
from espalier.runtime.newest import Newest
from espalier.tasks.base import ImageQuery
from espalier.vision.channels import Channels
from espalier.vision.image import MAX_PIXELS, read_image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv",
     ".3gp", ".mjpg", ".mjpeg"}
)  # fmt: skip
"""File name endings (lower case) of the videos we read."""
PLAYLISTS = frozenset({".m3u8"})
STREAMS = ("rtsp://", "rtsps://", "rtmp://", "rtmps://", "rtp://", "udp://", "tcp://", "srt://")
PIPE = "-"
_CAMERAS = "/dev/video"

_LOCAL = "file,pipe,fd"  # a file must not make us fetch what it names
_REMOTE = "http,https,httpproxy,tls,tcp,udp,rtp,rtsp,rtmp,rtmps,srt,crypto,data"
_ENCRYPTED = ("https://", "rtsps://", "rtmps://")
_USUAL_RATE = Fraction(25)
_KEYLESS = 300  # packets; a stream without key frames for so long has none (it refreshes bit by bit)
_FIX = "play it with another program; if that works, convert it to mp4 (H.264)"


@dataclass(frozen=True)
class Frames:
    """Which frames of a video are asked for, and when a stream has stopped.

    `live` drops frames rather than falling behind; None does for what is live by its nature.
    """

    every: int = 1
    every_s: float = 0.0
    live: bool | None = None
    timeout_s: float = 10.0


@dataclass(frozen=True)
class FrameQuery(ImageQuery):
    """One frame of a video; its name is the video's and the frame's number, `clip.mp4#000123`.

    `pts` counts `time_base` seconds, as the video says it.
    """

    video: str = ""
    frame: int = 0
    pts: int = 0
    time_base: Fraction = Fraction(1)
    rate: Fraction = _USUAL_RATE

    @property
    def time_s(self) -> float:
        """When the frame is shown."""
        return float(self.pts * self.time_base)


@dataclass
class VideoFacts:
    """What happened while a video was read."""

    name: str
    taken: int = 0  # frames handed on
    corrupt: int = 0
    corrupt_s: float | None = None  # when the first of them is shown
    dropped: int = 0
    stopped: str = ""  # why it ended before its end
    ended: str = "not read to its end"  # as far as the reader knows

    def lost(self, time_s: float | None) -> None:
        """One more frame can't be decoded."""
        if self.corrupt == 0:
            self.corrupt_s = time_s
        self.corrupt += 1

    def warnings(self) -> list[str]:
        """What somebody should know about it."""
        at = "" if self.corrupt_s is None else f", the first at {self.corrupt_s:.3f} s"
        said = [f"{self.corrupt} corrupt frame{'s' * (self.corrupt > 1)} left out{at}"] if self.corrupt else []
        said += [f"{self.dropped} frames dropped so as not to fall behind"] if self.dropped else []
        said += [f"it stopped: {self.stopped}; what came before is kept"] if self.stopped else []
        return [f"{self.name}: {text}" for text in said]


@dataclass(frozen=True)
class VideoSource:
    """One video or stream that was not read yet. `content` is a path, an address, a device, or `-`."""

    name: str
    content: str
    frames: Frames = Frames()
    facts: VideoFacts = field(default_factory=lambda: VideoFacts(""), compare=False)

    @staticmethod
    def of(content: str, frames: Frames) -> VideoSource:
        """The source of that path or address. A password in it stays out of its name."""
        name = "stdin" if content == PIPE else storage.without_password(content)
        return VideoSource(name, content, frames, VideoFacts(name))

    @property
    def live(self) -> bool:
        """Are frames dropped rather than falling behind?"""
        return is_live(self.content) if self.frames.live is None else self.frames.live

    def queries(self, *, channels: Channels = "rgb", max_pixels: int = MAX_PIXELS) -> Iterator[FrameQuery]:
        """The frames asked for, as they come. Raises ImageError where not a single one can be read.

        Raises MissingExtraError without PyAV. What goes wrong later is kept in `facts`, and ends nothing else.
        """
        found = self._newest() if self.live else _frames(self)
        for read in found:
            frame = read.frame
            if frame.width * frame.height > max_pixels:
                what = f"its frames have {frame.width} × {frame.height} px, more than {max_pixels:,}"
                raise ImageError(Problem(self.name, what, fix="raise data.max_pixels if you trust it"))
            self.facts.taken += 1
            image_HWC = read_image(_upright(frame), channels=channels, max_pixels=max_pixels, name=self.name)
            name = f"{self.name}#{read.number:06d}"
            yield FrameQuery(image_HWC, name, self.name, read.number, read.pts, read.time_base, read.rate)
        self.facts.ended = self.facts.stopped or "at its end"
        if not self.facts.taken:
            what = self.facts.stopped or "no frame of it can be decoded"
            fix = "give it longer: predict.timeout_s" if self.live else _FIX
            raise ImageError(Problem(self.name, what, fix=fix))

    def _newest(self) -> Iterator[_Read]:
        """The newest frame each time, read by a thread; ends where no other comes in time."""
        newest = Newest(_frames(self), timeout_s=self.frames.timeout_s)
        for read in newest:
            self.facts.dropped = newest.dropped  # each time: whoever looks on may stop at any frame
            yield read
        if newest.stalled:
            self.facts.stopped = f"no frame came for {self.frames.timeout_s:g} s"


def is_video(path: str) -> bool:
    """Is it a video, a stream or a device, by its name alone?"""
    return path == PIPE or path.startswith(STREAMS) or suffix(path) in SUFFIXES | PLAYLISTS or _is_special(path)


def is_live(path: str) -> bool:
    """Does it go on whether or not anybody reads?"""
    return path == PIPE or path.startswith(STREAMS) or suffix(path) in PLAYLISTS or _is_special(path)


def suffix(path: str) -> str:
    """The ending in lower case with its dot; of an address without what follows a question mark."""
    plain = path.split("::")[0]
    return os.path.splitext(plain.split("?")[0] if "://" in plain else plain)[1].lower()  # noqa: PTH122  (addresses are no Path)


def _is_fetched(path: str) -> bool:
    """Does FFmpeg itself go to the network for it?"""
    return path.startswith(("http://", "https://", *STREAMS))


def _is_special(path: str) -> bool:
    """A device or a named pipe."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


# ---- reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    """A decoded frame; `pts` counts `time_base` seconds, `rate` is the video's in frames a second."""

    number: int
    frame: VideoFrame
    pts: int
    time_base: Fraction
    rate: Fraction


def _frames(source: VideoSource) -> Iterator[_Read]:
    """The frames asked for. Raises ImageError for what can't be opened."""
    with _opened(source) as container:
        stream = next((s for s in container.streams.video if s.codec_context is not None), None)
        if stream is None:
            raise ImageError(Problem(source.name, "no video that this program can decode is in it", fix=_FIX))
        wanted = _Wanted(source.frames)
        for read in _timed(_decoded(container, stream, source.facts), stream):
            if wanted(read.number, read.pts * read.time_base):
                yield read


class _Wanted:
    """Is a frame asked for? Each so many-th, and of those the first at or after each so many seconds."""

    def __init__(self, frames: Frames) -> None:
        self._every, self._every_s = frames.every, Fraction(frames.every_s).limit_denominator(10**6)
        self._next: Fraction | None = None

    def __call__(self, number: int, time_s: Fraction) -> bool:
        if number % self._every:
            return False
        if not self._every_s:
            return True
        begun = self._next is not None and time_s >= self._next - self._every_s  # else a stream's clock went back
        due = self._next if self._next is not None and begun else time_s
        if time_s < due:
            return False
        self._next = due + self._every_s * ((time_s - due) // self._every_s + 1)
        return True


def _opened(source: VideoSource) -> InputContainer:
    av = _pyav()
    path = source.content
    local = not _is_fetched(path)
    kind = "v4l2" if path.startswith(_CAMERAS) else None
    timeout, options = None if local else source.frames.timeout_s, _options(source)
    try:
        found: InputContainer = av.open(
            _content(path), "r", format=kind, options=options, metadata_errors="replace", timeout=timeout
        )
    except InputError as error:
        raise ImageError(*error.problems) from None
    except (av.FFmpegError, OSError, ValueError) as error:
        fix = _FIX if local else "check that it is on and can be reached from here"
        fix += "; its certificate must be one that this machine trusts (SSL_CERT_FILE)" * path.startswith(_ENCRYPTED)
        raise ImageError(Problem(source.name, f"the video can't be opened: {_reason(error)}", fix=fix)) from None
    return found


def _options(source: VideoSource) -> dict[str, str]:
    """FFmpeg's options for opening a source."""
    path = source.content
    local = not _is_fetched(path)
    options = {"protocol_whitelist": _LOCAL if local else _REMOTE}
    if path.startswith(("rtsp://", "rtsps://")):
        options["rtsp_transport"] = "tcp"  # UDP loses packets, which are corrupt frames
    if not local:
        options |= {"tls_verify": "1"}  # FFmpeg trusts any certificate otherwise; an .m3u8 may lead to https, too
        trusted = ssl.get_default_verify_paths().cafile
        options |= {"ca_file": trusted} if trusted else {}
    if source.live:
        options["analyzeduration"] = "2000000"  # microseconds; the first frame sooner
    return options


def _content(path: str) -> Any:
    """What PyAV opens: FFmpeg reads local files and streams itself, members of a zip and buckets come from us."""
    if path == PIPE:
        return "pipe:0"
    if _is_fetched(path) or path.startswith(_CAMERAS):
        return path
    if "://" in path or not Path(path).exists():
        return storage.open_read(path)
    return f"file:{path}"  # a name with a colon is no protocol


def _decoded(container: InputContainer, stream: VideoStream, facts: VideoFacts) -> Iterator[tuple[int, VideoFrame]]:
    """(number, frame) in the order of presentation; those that can't be decoded count too, and are left out, as are
    those before the first key frame, which who joins a stream in the middle sees as grey."""
    av = _pyav()
    packets, number, begun = container.demux(stream), 0, False
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError) as error:
            facts.stopped = _reason(error)
            return
        if packet is None:
            return
        begun = begun or packet.is_keyframe or number >= _KEYLESS
        try:
            frames = packet.decode() if begun or not packet.size else None
        except av.FFmpegError:
            frames = None
        if frames is None:
            facts.lost(None if packet.pts is None else float(packet.pts * packet.time_base))
            number += 1
            continue
        for frame in frames:
            if frame.is_corrupt:
                facts.lost(frame.time)
            else:
                yield number, frame
            number += 1


def _timed(frames: Iterator[tuple[int, VideoFrame]], stream: VideoStream) -> Iterator[_Read]:
    """With each frame's time; where the video says none (raw streams), by the usual rate."""
    rate = Fraction(stream.average_rate or stream.guessed_rate or _USUAL_RATE)
    for number, frame in frames:
        time_base = frame.time_base or 1 / rate
        pts = round(number / (rate * time_base)) if frame.pts is None else frame.pts
        yield _Read(number, frame, pts, time_base, rate)


def _upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """The frame, RGB uint8, turned and mirrored as its display matrix says (a telephone held upright)."""
    image_HW3: NDArray[Any] = frame.to_ndarray(format="rgb24")
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return image_HW3
    a, b, _, c, d, *_ = (int(v) for v in np.frombuffer(bytes(data), np.int32))
    if abs(b) + abs(c) > abs(a) + abs(d):  # x' = c y, y' = b x
        image_HW3, across, down = image_HW3.transpose(1, 0, 2), c, b
    else:  # x' = a x, y' = d y
        across, down = a, d
    return np.ascontiguousarray(image_HW3[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


def _reason(error: BaseException) -> str:
    """Without the address, which may hold a password."""
    name = type(error).__name__
    if name == "ExitError":
        return "it did not answer in time"
    return str(getattr(error, "strerror", None) or error or name)


def _pyav() -> Any:
    try:
        import av
    except ModuleNotFoundError:
        raise MissingExtraError("video", "reading a video") from None
    return av
