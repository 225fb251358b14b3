"""events.jsonl survives what happens to it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.errors import ModelError
from espalier.runs.events import EventLog, plain, read_events


@dataclass(frozen=True)
class Pair:
    a: int
    b: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        ([1.0, -math.inf], [1.0, None]),
        (np.float32(0.5), 0.5),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array([np.nan, 1.0]), [None, 1.0]),
        (np.bool_(True), True),
        (Pair(1, math.inf), {"a": 1, "b": None}),
        ({3: (1, 2)}, {"3": [1, 2]}),
        (Path("a") / "b", "a/b"),
        ("a\udc80", "a\\udc80"),
    ],
)
def test_plain(value: object, expected: object) -> None:
    assert plain(value) == expected


def test_plain_refuses_what_is_not_data() -> None:
    with pytest.raises(TypeError, match="object"):
        plain(object())


def test_a_torn_last_line_is_left_out_and_then_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"kind":"a","t":1}\n{"kind":"b","t":')
    assert [e["kind"] for e in read_events(path)] == ["a"]
    log = EventLog(path)
    log.append("c", {})
    assert [e["kind"] for e in read_events(path)] == ["a", "c"]


def test_a_torn_line_longer_than_a_read_block(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"kind":"a","t":1}\n{"kind":"' + b"x" * 200_000)
    EventLog(path).append("c", {})
    assert [e["kind"] for e in read_events(path)] == ["a", "c"]


def test_cut_goes_back_to_an_offset(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append("a", {})
    offset = log.offset()
    log.append("b", {})
    log.cut(offset)
    log.append("c", {})
    assert [e["kind"] for e in read_events(log.path)] == ["a", "c"]


@pytest.mark.parametrize("offset", [-1, 3, 10_000])
def test_cut_refuses_an_offset_inside_a_line_or_outside_the_file(tmp_path: Path, offset: int) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append("a", {})
    with pytest.raises(ModelError, match="not the end of an event"):
        log.cut(offset)
    assert len(list(read_events(log.path))) == 1


@pytest.mark.parametrize("line", [b"not json", b"[1]", b'{"t":1}', b'{"kind":5}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"kind":"a"}\n' + line + b"\n")
    with pytest.raises(ModelError, match=r"events\.jsonl:2: is not an event"):
        list(read_events(path))


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=400))
def test_any_bytes_give_events_or_one_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "events.jsonl"
    path.write_bytes(content)
    with suppress(ModelError):
        assert all(isinstance(e["kind"], str) for e in read_events(path))


def test_threads_never_mix_their_lines(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")

    def work(name: int) -> None:
        for i in range(100):
            log.append("x", {"name": name, "i": i, "pad": "y" * 300})

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = list(read_events(log.path))
    assert len(found) == 400
    assert [e["i"] for e in found if e["name"] == 2] == list(range(100))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_what_was_emitted_is_there_after_sigkill(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from espalier.runs.events import EventLog\n"
        "log = EventLog(Path(sys.argv[1]))\n"
        "for i in range(10**9):\n"
        "    log.append('step', {'step': i})\n"
        "    if i == 200: print('on', flush=True)\n"
    )
    path = tmp_path / "events.jsonl"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    steps = [e["step"] for e in read_events(path)]
    assert steps == list(range(len(steps)))
    assert len(steps) > 200


def test_lines_are_json_for_any_reader(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append("say", {"text": "Bäume → 木\n", "loss": math.nan})
    line = log.path.read_text("utf-8")
    assert line.count("\n") == 1
    event = json.loads(line)
    assert event["text"] == "Bäume → 木\n"
    assert event["loss"] is None
