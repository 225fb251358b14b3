"""The run folder: made, resumed, finished, failed, and never half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from espalier.blocks import Text
from espalier.errors import (
    DataError,
    InterruptedByUser,
    ModelError,
    Problem,
    RunExistsError,
    SpecError,
    StorageError,
    UsageError,
)
from espalier.runs.run import Run


@dataclass(frozen=True)
class Decision:
    field: str
    asked: Any
    chosen: Any
    reason: str


def record(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "run.json").read_text("utf-8"))
    return found


def test_numbers_go_on_from_the_largest(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a-007").mkdir(parents=True)
    (tmp_path / "runs" / "a-b-100").mkdir()
    first = Run.create("a", root=tmp_path / "runs", action="train")
    second = Run.create("a", root=tmp_path / "runs", action="train")
    assert [first.path.name, second.path.name] == ["a-008", "a-009"]


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "-x", "a b", "ä", "a" * 101])
def test_a_name_stays_inside_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="can't be a folder's name"):
        Run.create(name, root=tmp_path, action="train")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(RunExistsError, match="not empty") as caught:
        Run.create("a", out=tmp_path, action="train")
    assert caught.value.exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    assert "--resume" not in str(caught.value)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(RunExistsError, match="or add --resume"):
        Run.create("a", out=tmp_path, action="train")


def test_out_may_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(RunExistsError, match="is a file"):
        Run.create("a", out=tmp_path / "f", action="train")


def test_done_failed_interrupted(tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "done", action="train") as run:
        assert run.finish({"accuracy": np.float64(0.5), "worst": float("nan")}) == {"accuracy": 0.5, "worst": None}
    with Run.create("a", out=tmp_path / "plain", action="train"):
        pass
    with pytest.raises(DataError), Run.create("a", out=tmp_path / "failed", action="train"):
        raise DataError(Problem("a.csv:3", "no such class"))
    with pytest.raises(KeyboardInterrupt), Run.create("a", out=tmp_path / "key", action="train"):
        raise KeyboardInterrupt
    with pytest.raises(InterruptedByUser), Run.create("a", out=tmp_path / "stop", action="train"):
        raise InterruptedByUser("stopped after epoch 3")
    states = {p.name: record(p)["state"] for p in tmp_path.iterdir()}
    assert states == {"done": "done", "plain": "done", "failed": "failed", "key": "interrupted", "stop": "interrupted"}
    assert record(tmp_path / "failed")["error"] == "a.csv:3: no such class"
    assert record(tmp_path / "done")["result"] == {"accuracy": 0.5, "worst": None}


def test_run_json_holds_what_a_reader_asks_for(tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "r", action="train") as run:
        run.decisions([Decision("train.lr", "auto", 0.001, "by size"), Decision("train.lr", "auto", 0.002, "again")])
        run.note(seed=3, data={"fingerprint": "ab"}, hardware={"gpu": "none"}, parent="runs/b-001")
        run.note(data={"train": 10})
        run.write_spec("seed: 3\nat: rtsp://me:secret@camera/1\n")
    found = record(run.path)
    assert found["format_version"] == 1
    assert found["seed"] == 3
    assert found["parent"] == "runs/b-001"
    assert found["data"] == {"fingerprint": "ab", "train": 10}
    assert found["hardware"]["gpu"] == "none"
    assert found["hardware"]["cpus"] >= 1
    assert found["versions"]["numpy"] == np.__version__
    assert found["decisions"] == [{"field": "train.lr", "asked": "auto", "chosen": 0.002, "reason": "again"}]
    assert (run.path / "spec.yaml").read_text() == "seed: 3\nat: rtsp://camera/1\n"
    assert found["started"].endswith("+00:00")


def test_no_name_of_the_machine_or_user(tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "r", action="train"):
        pass
    text = (tmp_path / "r" / "run.json").read_text() + (tmp_path / "r" / "events.jsonl").read_text()
    assert os.path.expanduser("~") not in text or os.path.expanduser("~") == "/"  # noqa: PTH111
    assert str(tmp_path) not in text


def test_resume_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "r"
    run = Run.create("a", out=out, action="train")
    run.emit("step", step=1)
    offset = run.event_offset()
    run.emit("step", step=2)
    run.fail(KeyboardInterrupt())
    run.close()
    with Run.create("a", out=out, action="train", resume=True) as again:
        assert again.record.error is None
        again.cut_events(offset)
        again.emit("step", step=2, after=True)
        again.finish({})
    kinds = [(e["kind"], e.get("step")) for e in Run.open(out).events()]
    assert kinds == [("start", None), ("step", 1), ("resumed", None), ("step", 2), ("end", None)]
    assert record(out)["resumed"] == 1
    assert record(out)["state"] == "done"


def test_resume_of_nothing_starts(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new", tmp_path / "empty"):
        with Run.create("a", out=out, action="train", resume=True) as run:
            assert run.record.resumed == 0


def test_resume_wants_its_own_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="add --out"):
        Run.create("a", action="train", resume=True)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "photo.jpg").write_text("")
    with pytest.raises(ModelError, match=r"no run\.json"):
        Run.create("a", out=tmp_path / "x", action="train", resume=True)
    with Run.create("a", out=tmp_path / "e", action="evaluate"):
        pass
    with pytest.raises(UsageError, match="is a run of 'evaluate'"):
        Run.create("a", out=tmp_path / "e", action="train", resume=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is damaged"),
        ("[]", "is damaged"),
        ("{}", "action"),
        ('{"action": "train", "name": "a", "state": "flying"}', "state"),
        ('{"action": "train", "name": "a", "format_version": 2}', "format version 2"),
        ("[" * 100_000, "is damaged"),
    ],
)
def test_a_damaged_record_is_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        Run.open(tmp_path)


def test_open_changes_nothing(tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "r", action="train"):
        pass
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "r").iterdir()}
    assert [e["kind"] for e in Run.open(tmp_path / "r").events()] == ["start", "end"]
    assert before == {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "r").iterdir()}


def test_nowhere_leaves_nothing() -> None:
    with Run.nowhere("verify") as run:
        run.block("result", Text("t", "x"))
        run.folder("a", "b")
        heard = [e["kind"] for e in run.events()]
        run.finish({"ok": True})
    assert heard == ["block"]
    assert not run.path.exists()
    assert not run.kept


def test_listeners_hear_what_was_written(tmp_path: Path) -> None:
    run = Run.create("a", out=tmp_path / "r", action="train")
    heard: list[dict[str, Any]] = []
    run.listeners.append(heard.append)
    run.say("hello")
    assert heard == [e for e in run.events() if e["kind"] == "say"]


def test_pictures_are_small_and_carry_no_metadata(tmp_path: Path) -> None:
    run = Run.create("a", out=tmp_path / "r", action="train")
    deep_HW1 = np.full((900, 300, 1), 0xFF00, np.uint16)
    path = run.picture("worst-001", deep_HW1, longest_px=90)
    with Image.open(run.path / path) as image:
        assert image.size == (30, 90)
        assert image.mode == "RGB"
        assert not image.getexif()
        assert image.getpixel((5, 5)) == (255, 255, 255)


def test_metrics_csv_follows_from_the_events(tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "r", action="train") as run:
        run.emit("step", step=1, epoch=0, loss={"total": 2.0}, lr=0.1)
        run.emit("epoch", epoch=0, figures={"accuracy": 0.25})
    lines = (tmp_path / "r" / "metrics.csv").read_text().splitlines()
    assert lines[0] == "kind,epoch,step,figures.accuracy,loss.total,lr,t"
    assert lines[1].startswith("step,0,1,,2.0,0.1,")
    assert lines[2].startswith("epoch,0,,0.25,,,")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on a file's size there")
def test_a_full_disk_is_told_and_leaves_whole_lines(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from espalier.runs.run import Run\n"
        "run = Run.create('a', out=Path(sys.argv[1]), action='train')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "while True: run.emit('say', text='x' * 300)\n"
    )
    out = tmp_path / "r"
    done = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=False)
    assert "StorageError" in done.stderr
    assert "events.jsonl: can't be written" in done.stderr
    assert (out / "events.jsonl").read_bytes().endswith(b"}\n")
    assert [e["kind"] for e in Run.open(out).events()][-2:] == ["say", "say"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="can't be written"):
        Run.create("a", out=tmp_path / "r", action="train")
    tmp_path.chmod(0o700)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        Run.create("a", out=tmp_path / "file" / "r", action="train")


def test_a_failure_to_record_does_not_hide_the_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    run = Run.create("a", out=tmp_path / "r", action="train")
    monkeypatch.setattr("espalier.storage.write_json", full)
    with pytest.raises(DataError) as caught, run:
        raise DataError("the real reason")
    assert "disk is full" in caught.value.__notes__[0]
