"""The machine's facts, and wishes that it can't meet."""

from __future__ import annotations

import os

import pytest
import torch
from parts import train_spec

from espalier.errors import MissingExtraError, SpecError
from espalier.trainer import devices


def test_hardware_tells_what_is_here() -> None:
    found = devices.hardware()
    assert found.device == found.available[0]
    assert found.available[-1] == "cpu"
    assert found.cpu_cores >= 1
    assert found.memory_mb is None or found.memory_mb > 100
    assert found.world_size is None


def test_several_devices_need_torchrun() -> None:
    with pytest.raises(SpecError, match=r"torchrun --nproc-per-node 4 -m espalier train spec\.yaml"):
        devices.make_fabric(train_spec(devices=4))


def test_a_cpu_does_not_train_in_fp16() -> None:
    with pytest.raises(SpecError, match="use bf16 or fp32"):
        devices.make_fabric(train_spec(precision="fp16"))


@pytest.mark.parametrize(
    ("values", "said"), [({"ema_decay": 0.9}, "averaged weights"), ({"precision": "fp16"}, "bf16")]
)
def test_sharded_weights_say_what_they_can_not(values: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        devices._strategy(train_spec(strategy="fsdp", **values), 2)


def test_torchrun_tells_rank_and_world(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.rank_and_world() == (0, 1)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert devices.rank_and_world() == (3, 8)
    assert devices.hardware().world_size == 8


def test_without_the_framework_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"espalier-vision\[train\]"):
        devices.make_fabric(train_spec())


def test_a_compromised_release_is_never_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None if name == "lightning_fabric" else name)
    monkeypatch.setattr(devices.importlib.metadata, "version", lambda name: "2.6.3")
    with pytest.raises(MissingExtraError, match=r"lightning 2\.6\.3 is a compromised release"):
        devices.make_fabric(train_spec())
    monkeypatch.setattr(devices.importlib.metadata, "version", lambda name: "2.6.6")
    assert devices._package() == "lightning.fabric"


def test_settings_are_put_back() -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.backends.cudnn.benchmark
    with devices.determinism(True):
        assert torch.are_deterministic_algorithms_enabled()
        torch.set_num_threads(1)
    assert before == (
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        torch.backends.cudnn.benchmark,
    )


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, wanted: bool) -> None:
    assert devices.is_out_of_memory(error) is wanted


def test_peak_memory_is_this_processes() -> None:
    found = devices.peak_memory_mb(torch.device("cpu"))
    assert found is None or 10 < found < 1e6
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") in (None, ":4096:8")
