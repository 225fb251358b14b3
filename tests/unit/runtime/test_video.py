"""Videos as frames with their own times, and streams that drop frames."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from espalier.errors import ImageError, InputError, MissingExtraError
from espalier.runtime.sources import PictureSource, expand, expand_all
from espalier.runtime.video import FrameQuery, Frames, VideoSource, _content, _options, _Wanted, is_live, is_video
from videos import TIMES_MS, moving, spoil, write_clip


def source(path: Path | str, frames: Frames = Frames()) -> VideoSource:  # noqa: B008  (frozen)
    (found,) = expand_all([path], frames=frames)
    assert isinstance(found, VideoSource)
    return found


def read(path: Path | str, frames: Frames = Frames()) -> list[FrameQuery]:  # noqa: B008
    return list(source(path, frames).queries())


def test_each_frame_has_the_time_that_the_video_says(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    frames = read(clip)
    assert [frame.time_s for frame in frames] == [ms / 1000 for ms in TIMES_MS]
    assert [frame.name for frame in frames[:2]] == [f"{clip}#000000", f"{clip}#000001"]
    assert all(frame.image_HWC.shape == (48, 64, 3) for frame in frames)
    shown = [int(np.flatnonzero(frame.image_HWC[28, :, 0] > 128)[0]) for frame in frames]
    assert np.abs(np.array(shown) - [4 + 2 * n for n in range(8)]).max() <= 1


@pytest.mark.parametrize(
    ("frames", "numbers"),
    [
        (Frames(every=3), [0, 3, 6]),
        (Frames(every_s=0.1), [0, 3, 5, 7]),  # at or after 0, 100, 200 (400), 500 ms
        (Frames(every=2, every_s=0.15), [0, 4, 6]),
    ],
)
def test_some_frames_alone(tmp_path: Path, frames: Frames, numbers: list[int]) -> None:
    assert [frame.frame for frame in read(write_clip(tmp_path / "clip.mkv"), frames)] == numbers


def test_a_stream_whose_clock_goes_back_is_read_on() -> None:
    wanted = _Wanted(Frames(every_s=1.0))
    times_s = (50, 50.5, 51, 0, 0.5, 1, 2)
    assert [time_s for number, time_s in enumerate(times_s) if wanted(number, Fraction(time_s))] == [50, 51, 0, 1, 2]


@pytest.mark.parametrize("name", ["clips.zip/a/clip.mp4", "zip://a/clip.mp4::clips.zip"])
def test_videos_in_a_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("clips.zip", "w") as out:
        out.write(write_clip(tmp_path / "clip.mp4"), "a/clip.mp4")
    assert [frame.time_s for frame in read(name)] == [ms / 1000 for ms in TIMES_MS]


@pytest.mark.parametrize(("turned", "corner"), [(90, (-4, 4)), (180, (-4, -4)), (-90, (4, -4))])
def test_frames_stand_upright(tmp_path: Path, turned: int, corner: tuple[int, int]) -> None:
    first = read(write_clip(tmp_path / "clip.mp4", rotate_deg=turned))[0]
    assert first.image_HWC.shape[:2] == ((48, 64) if turned == 180 else (64, 48))
    assert first.image_HWC[corner][1] > 150
    assert first.image_HWC[corner][0] < 100


def test_a_corrupt_frame_is_left_out_and_told_with_its_time(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    spoil(clip, [3, 5])
    found = source(clip)
    assert [frame.frame for frame in found.queries()] == [0, 1, 2, 4, 6, 7]
    assert found.facts.corrupt == 2
    assert found.facts.ended == "at its end"
    assert found.facts.warnings() == [f"{clip}: 2 corrupt frames left out, the first at 0.140 s"]


def test_a_stream_that_is_joined_in_the_middle_begins_at_its_next_key_frame(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.ts")
    av = pytest.importorskip("av")
    with av.open(str(clip)) as container:
        second = [p.pos for p in container.demux(video=0) if p.size][1]
    data = clip.read_bytes()
    (tmp_path / "late.ts").write_bytes(data[: 3 * 188] + data[second:])  # the tables, then from the second frame on
    whole, found = read(clip), source(tmp_path / "late.ts")
    frames = list(found.queries())
    assert [frame.time_s for frame in frames] == [frame.time_s for frame in whole[4:]]  # a key frame each four
    assert found.facts.corrupt == 3
    np.testing.assert_array_equal(frames[0].image_HWC, whole[4].image_HWC)


def test_no_frame_at_all_is_an_error(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    spoil(clip, range(8))
    with pytest.raises(ImageError, match="no frame of it can be decoded"):
        read(clip)


def test_a_file_that_is_no_video_says_so(tmp_path: Path) -> None:
    pytest.importorskip("av")
    broken = tmp_path / "a:b.mp4"
    broken.write_bytes(b"no video" * 100)
    with pytest.raises(ImageError, match=r"a:b\.mp4: the video can't be opened: Invalid data"):
        read(broken)


def test_too_large_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="64 × 48 px, more than 1,000"):
        list(source(write_clip(tmp_path / "clip.mp4")).queries(max_pixels=1000))


def test_grey_models_get_grey_frames(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    assert next(source(clip).queries(channels="grey")).image_HWC.shape == (48, 64, 1)


def test_videos_lie_beside_pictures_in_folders(tmp_path: Path) -> None:
    for name in ("a.png", "b.MP4", "c.txt"):
        (tmp_path / name).touch()
    found = expand_all([tmp_path], frames=Frames())
    assert [type(one) for one in found] == [PictureSource, VideoSource]
    assert len(expand([tmp_path])) == 1


def test_what_is_a_video_and_what_is_live() -> None:
    for address in ("rtsp://camera/1", "https://example.org/live.m3u8?key=1", "-", "/dev/null"):
        assert is_video(address)
        assert is_live(address)
    assert is_video("https://example.org/clip.mp4?x=1")
    assert not is_live("clip.mp4")


def test_streams_are_read_only_when_asked_to_and_passwords_stay_out_of_names() -> None:
    with pytest.raises(InputError, match="only read when asked to") as caught:
        expand_all(["rtsp://me:secret@camera/1"], frames=Frames())
    assert "secret" not in str(caught.value)
    (found,) = expand_all(["rtsp://me:secret@camera/1"], frames=Frames(), allow_urls=True)
    assert found.name == "rtsp://camera/1"
    with pytest.raises(InputError, match="several live streams"):
        expand_all(["rtsp://a/1", "rtsp://b/1"], frames=Frames(), allow_urls=True)


def test_ffmpeg_opens_only_what_was_asked_for_and_checks_certificates() -> None:
    for path in ("clip.mp4", "zip://clip.mp4::clips.zip", "s3://bucket/clip.mp4"):
        assert _options(VideoSource.of(path, Frames())) == {"protocol_whitelist": "file,pipe,fd"}
    options = _options(VideoSource.of("rtsps://camera/1", Frames()))
    assert options["tls_verify"] == "1"
    assert "file" not in options["protocol_whitelist"].split(",")


def test_a_camera_is_opened_by_its_device() -> None:
    assert _content("/dev/video0") == "/dev/video0"  # as file:/dev/video0 there is no such device
    assert _content("/dev/null") == "file:/dev/null"


def test_dropped_frames_are_known_whenever_it_is_stopped(tmp_path: Path) -> None:
    found = source(write_clip(tmp_path / "clip.mp4"), Frames(live=True))
    frames = found.queries()
    last = next(frames).frame
    while last < 7:
        time.sleep(0.2)
        last = next(frames).frame
    assert found.facts.taken + found.facts.dropped == 8
    assert found.facts.ended == "not read to its end"


def test_a_pipe_that_stops_ends_with_what_came(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", times_ms=range(0, 4000, 40), draw=lambda number: moving(number % 20))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = threading.Event()

    def feed() -> None:
        with pipe.open("wb") as out:
            out.write(clip.read_bytes())
            out.flush()
            done.wait(10)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    found = source(pipe, Frames(timeout_s=2.0))
    assert found.live
    frames = list(found.queries())
    assert frames
    assert 90 <= found.facts.taken + found.facts.dropped <= 100  # the demuxer may hold the last ones back
    assert found.facts.stopped == found.facts.ended == "no frame came for 2 s"
    done.set()
    thread.join(5)


def test_without_pyav_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    if importlib.util.find_spec("av"):
        monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"espalier-vision\[video\]"):
        read(tmp_path / "clip.mp4")
