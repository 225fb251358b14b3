"""Foreign files: tensors come out, nothing in them runs."""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from espalier.backbones.weights.foreign import read_tensors
from espalier.errors import ModelError

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        lambda t: collections.OrderedDict(t),
        lambda t: {"state_dict": t, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
        lambda t: {"model": t, "best": np.float64(0.5), "count": np.int64(3), "flag": np.bool_(True)},
        lambda t: {"state_dict": {f"module.{k}": v for k, v in t.items()}},
        lambda t: {"model": {}, "model_ema": {f"module.model.{k}": v for k, v in t.items()}},
    ],
)
def test_tensors_come_out_of_what_training_scripts_wrap_them_in(tmp_path: Path, wrap: Any) -> None:
    torch.save(wrap(TENSORS), tmp_path / "w.pth")
    found = read_tensors(tmp_path / "w.pth")
    assert set(found) == set(TENSORS)
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "it-ran"
    torch.save({"w": torch.ones(1), "x": Evil(trace)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"refused: it holds a \w+\.mkdir"):
        read_tensors(tmp_path / "w.pth")
    assert not trace.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"holds a torch.nn.modules.linear.Linear"):
        read_tensors(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 1}, torch.ones(2), {}])
def test_a_file_without_named_tensors_is_told(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="named tensors"):
        read_tensors(tmp_path / "w.pth")


def test_a_pickle_of_another_protocol_is_told_without_warnings(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": Evil(tmp_path / "made")}, protocol=4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModelError, match="can't be read as a weight file"):
            read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "made").exists()


def test_other_suffixes_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match=r"one of \.bin, \.ckpt, \.pt, \.pth"):
        read_tensors(tmp_path / "w.npz")


@example(content=b"G", suffix=".pth", cut=0)  # a number without its eight bytes
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".pth", ".safetensors"]), cut=st.integers(0, 1500))
def test_damaged_files_give_one_clear_error(tmp_path: Path, content: bytes, suffix: str, cut: int) -> None:
    path = tmp_path / f"w{suffix}"
    torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:cut] + content)
    with contextlib.suppress(ModelError):
        read_tensors(path)
