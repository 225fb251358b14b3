"""What `predict` writes of pictures and videos: each format, read back where it can be read."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from espalier.actions import predict as verb
from espalier.actions.models import lookup
from espalier.actions.predict_answer import Answer
from espalier.actions.predict_files import JsonFile
from espalier.actions.predict_page import SHOWN
from espalier.actions.predict_pictures import class_folders, cut_out
from espalier.actions.predict_video import DrawnVideos, padded
from espalier.data.formats import read_index
from espalier.errors import ImageError, StorageError, UsageError
from espalier.runs.run import Run
from espalier.runtime.video import FrameQuery
from espalier.spec.load import load_spec
from espalier.tasks import base as tasks
from espalier.tasks.classification.prediction import Classification
from espalier.tasks.detection import TASK, Detections
from espalier.vision.draw import colour_of
from videos import TIMES_MS, moving, write_clip


class Detector:
    """Says two boxes of the first picture and none of the others; of a video's frames the white square."""

    name, kind, path = "detector", "bundle", Path("bundle")
    backend = SimpleNamespace(name="none", device="cpu")
    channels, classes, task = "rgb", ("cat", "dog"), TASK

    def predictor(self, *, batch_size: int) -> Detector:
        return self

    def pairs(self, queries: Iterator[Any]) -> Iterator[tuple[Any, Detections]]:
        boxes = Detections(np.array([[1, 2, 9, 8], [0, 0, 4, 4]]), np.array([0.9, 0.5]), np.array([1, 0]))
        for number, query in enumerate(queries):
            if isinstance(query, FrameQuery):
                yield query, _square(query.image_HWC)
            else:
                yield query, boxes if number == 0 else Detections.none()


def _square(image_HWC: np.ndarray) -> Detections:
    rows, columns = np.nonzero(image_HWC[..., 0] > 128)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return Detections(np.array([box]), np.array([0.8]), np.array([1]))


class Classifier(Detector):
    """Says 'dog' of everything."""

    task = tasks.get("classification")  # type: ignore[assignment]

    def pairs(self, queries: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        return ((query, Classification(np.array([0.25, 0.75], np.float32))) for query in queries)


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    for number, name in enumerate(("a.png", "b.png")):
        Image.new("RGB", (12, 10), (200, 40 * number, 0)).save(tmp_path / name)
    return [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def run_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: list[str], model: Detector | None = None, **knobs: Any
) -> Run:
    monkeypatch.setattr(verb, "open_model", lambda *args, **more: model or Detector())
    given = {"predict.model": "bundle", "predict.images": images, **{f"predict.{k}": v for k, v in knobs.items()}}
    spec = load_spec(None, overrides=(), positionals=given, lookup=lookup)
    run = Run.create("predict", out=tmp_path / "run", action="predict")
    run.finish(verb.predict(spec, run))
    return run


def table(run: Run) -> list[dict[str, str]]:
    with (run.path / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str]) -> None:
    run = run_predict(tmp_path, monkeypatch, two)
    rows = table(run)
    assert run.record.result["pictures"] == 2
    assert [Path(row["image"]).name for row in rows] == ["a.png", "a.png", "b.png"]
    assert [row["class"] for row in rows] == ["dog", "cat", ""]
    assert rows[0] | {"image": ""} == {
        "image": "", "class": "dog", "score": "0.9", "x1": "1.0", "y1": "2.0", "x2": "9.0", "y2": "8.0",
    }  # fmt: skip
    assert any(event["text"].endswith("2 objects: cat 1, dog 1") for event in run.events() if event["kind"] == "say")
    assert not (run.path / ".predictions.csv.rows").exists()


def test_what_can_not_be_read_is_written_and_told_after_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str]
) -> None:
    Path(two[0]).write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"a\.png"):
        run_predict(tmp_path, monkeypatch, two, formats=["json", "jsonl", "csv"])
    found = json.loads((tmp_path / "run" / "predictions.json").read_text())
    assert [Path(one["image"]).name for one in found] == ["b.png", "a.png"]
    assert "error" in found[1]
    lines = (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == found


def test_what_was_answered_is_whole_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str]
) -> None:
    class Interrupted(Detector):
        def pairs(self, queries: Iterator[Any]) -> Iterator[tuple[Any, Detections]]:
            yield next(super().pairs(queries))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_predict(tmp_path, monkeypatch, two, Interrupted())
    assert len(json.loads((tmp_path / "run" / "predictions.json").read_text())) == 1
    assert len((tmp_path / "run" / "predictions.csv").read_text().splitlines()) == 3


def test_files_are_ended_also_where_one_can_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str]
) -> None:
    def full(self: JsonFile) -> list[str]:
        raise StorageError("the disk is full")

    monkeypatch.setattr(JsonFile, "close", full)
    with pytest.raises(StorageError, match="full"):
        run_predict(tmp_path, monkeypatch, two)
    assert len((tmp_path / "run" / "predictions.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("name", ["coco", "yolo"])
def test_predictions_read_back_as_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str], name: str
) -> None:
    run = run_predict(tmp_path, monkeypatch, two, formats=[name])
    index = read_index(str(run.path / name))
    assert index.format == name
    assert index.classes == ("cat", "dog")
    assert index.class_id.tolist() == [1, 0]
    assert np.diff(index.offsets).tolist() == [2, 0]
    np.testing.assert_allclose(index.box_xyxy, [[1, 2, 9, 8], [0, 0, 4, 4]], atol=1e-4)
    assert all(Path(index.path(row)).is_file() for row in range(2))


def test_scores_lie_beside_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str]) -> None:
    run = run_predict(tmp_path, monkeypatch, two, formats=["coco", "yolo"])
    results = json.loads((run.path / "coco" / "results.json").read_text())
    document = json.loads((run.path / "coco" / "train.json").read_text())
    assert [(one["image_id"], one["category_id"], one["score"]) for one in results] == [(0, 1, 0.9), (0, 0, 0.5)]
    assert results[0]["bbox"] == [1.0, 2.0, 8.0, 6.0]
    assert [one["id"] for one in document["annotations"]] == [1, 2]  # 0 is "no match" to pycocotools
    assert [Path(one["file_name"]).name for one in document["images"]] == ["a.png", "b.png"]
    text = next((run.path / "yolo" / "predictions").rglob("a.txt")).read_text().split()
    assert text[:1] + text[5:7] == ["1", "0.9", "0"]


def test_label_studio_gets_predictions_to_accept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str]
) -> None:
    run = run_predict(tmp_path, monkeypatch, two, formats=["label_studio"])
    path = run.path / "label_studio" / "label_studio.json"
    found = json.loads(path.read_text())
    (prediction,) = found[0]["predictions"]
    assert prediction["model_version"] == "detector"
    assert [result["score"] for result in prediction["result"]] == [0.9, 0.5]
    assert prediction["score"] == pytest.approx(0.7)
    assert all("annotations" not in task for task in found)
    accepted = [{**task, "annotations": [{"result": task["predictions"][0]["result"]}]} for task in found]
    path.write_text(json.dumps(accepted))
    index = read_index(str(path))
    np.testing.assert_allclose(index.box_xyxy, [[1, 2, 9, 8], [0, 0, 4, 4]], atol=1e-4)


def test_formats_that_can_not_hold_the_answer_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        run_predict(tmp_path, monkeypatch, two, Classifier(), formats=["yolo", "crops", "coco"])
    (problem,) = caught.value.problems
    assert problem.what.startswith("yolo, crops can't hold what a model for classification says (label)")
    assert problem.expected.endswith("coco, label_studio")
    with pytest.raises(UsageError, match="no video to draw on"):
        run_predict(tmp_path / "2", monkeypatch, two, formats=["video"])
    with pytest.raises(UsageError, match="no video in which"):
        run_predict(tmp_path / "3", monkeypatch, two, track="bytetrack")


def test_labels_of_whole_pictures_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str]) -> None:
    run = run_predict(tmp_path, monkeypatch, two, Classifier(), formats=["coco"])
    index = read_index(str(run.path / "coco"))
    assert index.kinds == {"label"}
    assert index.class_id.tolist() == [1, 1]


def test_each_box_is_cut_out_into_a_folder_of_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str]
) -> None:
    run = run_predict(tmp_path, monkeypatch, two, formats=["crops", "pictures"], crop_margin=0.125)
    crops = sorted(path.relative_to(run.path / "crops").as_posix() for path in (run.path / "crops").rglob("*.jpg"))
    assert crops == ["cat/00000-a-001.jpg", "dog/00000-a-000.jpg"]
    with Image.open(run.path / "crops" / crops[1]) as crop:
        assert crop.size == (10, 8)
    assert (run.path / "drawn" / "00001-b.jpg").is_file()


def test_classes_keep_their_names_as_folders_and_never_share_one() -> None:
    assert class_folders(["犬", "traffic light", "a/b", "A_b", "..", "x"]) == [
        "犬", "traffic light", "a_b-2", "A_b-3", "picture", "x",
    ]  # fmt: skip


def test_crops_end_at_the_picture() -> None:
    image = np.arange(100).reshape(10, 10, 1)
    assert cut_out(image, np.array([-5, 8, 3, 20]), 0.0).shape == (2, 3, 1)
    assert cut_out(image, np.array([2.5, 2.5, 3.5, 4.5]), 0.0).shape == (3, 2, 1)
    assert cut_out(image, np.array([20, 20, 30, 30]), 0.0).size == 0
    assert cut_out(image, np.array([-9, -9, -3, -3]), 0.0).size == 0


def test_a_few_pictures_are_shown_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: list[str]
) -> None:
    for number in range(60):
        Image.new("RGB", (12, 10)).save(tmp_path / f"c{number:02d}.png")
    run = run_predict(tmp_path, monkeypatch, [f"{tmp_path}/*.png"], formats=["csv"])
    blocks = [event["block"] for event in run.events() if event["kind"] == "block"]
    (gallery,) = (block for block in blocks if block["kind"] == "gallery")
    assert 12 <= len(gallery["pictures"]) <= SHOWN
    assert [picture["path"][-7:] for picture in gallery["pictures"][:3]] == ["0-a.jpg", "c02.jpg", "c06.jpg"]
    (found,) = (block for block in blocks if block["title"] == "What was found")
    assert found["rows"] == [["cat", 1, 1], ["dog", 1, 1]]


def test_odd_sides_become_even() -> None:
    assert padded(np.zeros((5, 7, 3), np.uint8)).shape == (6, 8, 3)
    assert padded(np.zeros((4, 6, 3), np.uint8)).shape == (4, 6, 3)


# ---- videos ------------------------------------------------------------------------------------------------------


def test_frames_are_answered_with_their_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing" * 99)
    with pytest.raises(ImageError, match="broken"):
        run_predict(tmp_path, monkeypatch, [str(broken), str(clip)], formats=["json", "csv", "coco"], every=2)
    rows = table(Run.open(tmp_path / "run"))
    assert [(row["frame"], row["time_s"]) for row in rows[:-1]] == [
        (str(n), str(TIMES_MS[n] / 1000)) for n in (0, 2, 4, 6)
    ]
    assert rows[0]["image"] == f"{clip}#000000"
    assert rows[-1]["error"]
    index = read_index(str(tmp_path / "run" / "coco"))
    assert [Path(str(path)).name for path in index.paths] == [
        f"{i:05d}-clip-{n:06d}.jpg" for i, n in enumerate((0, 2, 4, 6))
    ]
    assert all(Path(index.path(row)).is_file() for row in range(4))


def _odd(number: int) -> np.ndarray:
    """345 × 465 pixels."""
    return np.pad(moving(number), ((150, 147), (200, 201), (0, 0)))


def test_the_drawn_video_has_the_times_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")
    clip = write_clip(tmp_path / "clip.mkv", draw=_odd, codec="ffv1")
    run = run_predict(tmp_path, monkeypatch, [str(clip)], formats=["video"])
    with av.open(str(run.path / "videos" / "clip.mp4")) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.codec_context.name == "h264"
        assert [round(1000 * frame.time) for frame in frames] == list(TIMES_MS)
        assert (frames[0].height, frames[0].width) == (346, 466)
        image = frames[4].to_ndarray(format="rgb24")
    near = image[160:200, 200:240].astype(int)
    assert (np.abs(near - colour_of(1)).max(axis=-1) < 40).sum() > 30  # the box
    assert (near.min(axis=-1) > 220).sum() > 30  # the square inside


def test_a_drawn_stream_whose_clock_begins_anew_goes_on(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    videos = DrawnVideos(tmp_path / "a:b")
    for number, pts in enumerate((90000, 90040, 0, 40)):
        frame = FrameQuery(moving(number), "s", "s", number, pts, Fraction(1, 1000))
        videos.add(Answer(number, frame, _square(frame.image_HWC), Detector()))  # type: ignore[arg-type]
    videos.close()
    with av.open(f"file:{tmp_path}/a:b/videos/s.mp4") as container:
        assert [round(1000 * frame.time) for frame in container.decode(video=0)] == [0, 40, 41, 81]


def test_the_same_object_keeps_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("edgefirst.tracker")
    clip = write_clip(tmp_path / "clip.mp4")
    again = write_clip(tmp_path / "other.mp4")
    run = run_predict(tmp_path, monkeypatch, [str(clip), str(again)], formats=["json", "csv"], track="bytetrack")
    assert [row["track_id"] for row in table(run)] == ["1"] * 16
    found = json.loads((run.path / "predictions.json").read_text())
    assert all(one["objects"][0]["track_id"] == 1 for one in found)
