"""Checkpoints: whole after a kill at any instant, exact, and refused with a reason when they are damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from parts import Tiny, killed_run, make_loop, train_spec

from espalier.errors import ModelError, StorageError
from espalier.trainer import checkpoint as room
from espalier.trainer.checkpoint import (
    TrainerState,
    exists,
    load_checkpoint,
    load_weights,
    plain_tensors,
    readable,
    save_checkpoint,
)


def save(folder: Path, number: int) -> None:
    state = TrainerState({"moment": torch.full((3,), float(number))}, {"number": number})
    save_checkpoint(folder, {"weight": torch.full((4, 2), float(number))}, state, {"step": number})


def number_in(folder: Path) -> int:
    found = load_checkpoint(folder)
    numbers = {found.info["step"], found.trainer_state().values["number"], int(found.model_state()["weight"][0, 0])}
    assert len(numbers) == 1, "parts of two checkpoints"
    return int(numbers.pop())


class Killed(BaseException):
    """Not caught by anything: the process is gone."""


CALLS = [
    (os, "fsync"),
    (Path, "rename"),
    (Path, "mkdir"),
    (Path, "write_text"),
    (room, "save_file"),
    (shutil, "rmtree"),
]


def test_a_kill_at_any_instant_leaves_a_readable_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die before and after the k-th call that touches the disk, for every k there is."""
    for when in ("before", "after"):
        instant, done = 0, False
        while not done:
            folder = tmp_path / f"{when}-{instant}" / "last"
            save(folder, 1)
            with monkeypatch.context() as patch:
                counter = [0]
                for owner, name in CALLS:
                    _die_at(patch, owner, name, counter, instant, when)
                try:
                    save(folder, 2)
                    done = True
                except Killed:
                    pass
            assert exists(folder)
            assert number_in(readable(folder)) in (1, 2)
            save(folder, 3)  # and the next save puts things in order
            assert number_in(folder) == 3
            assert [p.name for p in folder.parent.iterdir()] == ["last"]
            instant += 1
        assert instant > 8


def _die_at(patch: Any, owner: Any, name: str, counter: list[int], instant: int, when: str) -> None:
    real = getattr(owner, name)

    def call(*args: Any, **given: Any) -> Any:
        counter[0] += 1
        if counter[0] - 1 == instant and when == "before":
            raise Killed
        result = real(*args, **given)
        if counter[0] - 1 == instant:
            raise Killed
        return result

    patch.setattr(owner, name, call)


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    save(tmp_path / "last", 1)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if call == "fsync" else Path, call, full)
        with pytest.raises(StorageError, match=r"No space left on device(.|\n)*untouched"):
            save(tmp_path / "last", 2)
    assert number_in(tmp_path / "last") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        save(tmp_path / "file" / "last", 1)


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    odd = torch.randn(2, 3, 5, 4).to(memory_format=torch.channels_last)
    state = {"a": odd, "view": odd[:1], "same": odd, "count": torch.tensor(7), "half": torch.randn(3).bfloat16()}
    save_checkpoint(tmp_path / "c", state, TrainerState({}, {}), {})
    found = load_checkpoint(tmp_path / "c").model_state()
    assert all(torch.equal(found[name], state[name]) and found[name].dtype == state[name].dtype for name in state)
    assert plain_tensors(state)["same"].data_ptr() != plain_tensors(state)["a"].data_ptr()


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / name, 5)
    for file in ("model.safetensors", "trainer.safetensors", "checkpoint.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


DAMAGE = {
    "not there": (lambda f: shutil.rmtree(f), "no checkpoint.json"),
    "no info": (lambda f: (f / "checkpoint.json").unlink(), "no checkpoint.json"),
    "info torn": (lambda f: (f / "checkpoint.json").write_text('{"form'), "not JSON"),
    "info binary": (lambda f: (f / "checkpoint.json").write_bytes(b"\xff\xfe\x00"), "not JSON"),
    "info a list": (lambda f: (f / "checkpoint.json").write_text("[]"), "does not hold"),
    "info deep": (lambda f: (f / "checkpoint.json").write_text("[" * 100_000), "not JSON"),
    "newer": (lambda f: (f / "checkpoint.json").write_text('{"format_version": 99}'), "unknown format_version 99"),
    "no parts": (
        lambda f: (f / "checkpoint.json").write_text('{"format_version": 1}'),
        "parts are missing: files, sha256, trainer",
    ),
    "weights gone": (lambda f: (f / "model.safetensors").unlink(), "file is missing"),
    "weights cut": (lambda f: os.truncate(f / "model.safetensors", 20), "20 bytes long instead of"),
    "weights odd": (lambda f: _scramble(f / "model.safetensors"), "damaged"),
    "one bit": (lambda f: _flip_last_bit(f / "model.safetensors"), "its SHA-256 is not the one in checkpoint.json"),
}


@pytest.mark.parametrize(("break_it", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_named(tmp_path: Path, break_it: Any, said: str) -> None:
    save(tmp_path / "c", 1)
    break_it(tmp_path / "c")
    with pytest.raises(ModelError, match=said):
        load_checkpoint(tmp_path / "c").model_state()


def _scramble(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


def _flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_weights_of_another_model_are_refused_all_at_once() -> None:
    model, state = Tiny(), Tiny().state_dict()
    state["head.weight"] = torch.zeros(3, 4)
    state["extra"] = state.pop("head.bias")
    with pytest.raises(ModelError) as caught:
        load_weights(model, state, where="c")
    told = str(caught.value)
    assert "'head.bias' is missing" in told
    assert "'extra' is not part of the model" in told
    assert "'head.weight' has the shape (3, 4)" in told
    assert "(2, 4)" in told


TRAINER_DAMAGE = [
    {"position": None},
    {"position": {"epoch": 1}},
    {"best": {}},
    {"window": {"count": "x", "sums": {}}},
    {"optimiser": {"nothing/step": 1}},
    {"threads": "many"},
    {"parts": None},
]


@pytest.mark.parametrize("change", TRAINER_DAMAGE, ids=[next(iter(c)) for c in TRAINER_DAMAGE])
def test_a_damaged_trainer_state_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    record = killed_run(tmp_path, train_spec(), at=7)
    path = tmp_path / "checkpoints/last/checkpoint.json"
    info = json.loads(path.read_text())
    info["trainer"] |= change
    path.write_text(json.dumps(info))
    with pytest.raises(ModelError):
        make_loop(tmp_path, record=record).fit(resume=True)
