"""The machine: which devices and number format to use, how much memory there is, and Fabric set up for them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from espalier.errors import MissingExtraError, Problem, SpecError
from espalier.spec.facts import Hardware
from espalier.spec.training import TrainSpec
from espalier.trainer.sharding import shard

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_COMPROMISED = ("2.6.2", "2.6.3")  # GHSA-w37p-236h-pfx3
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def hardware() -> Hardware:
    """What this machine has, its best device first."""
    best = best_device()
    available = tuple(name for name in ("cuda", "mps", "cpu") if _available(name))
    world = rank_and_world()[1] if "WORLD_SIZE" in os.environ else None
    if best != "cuda":
        name = platform.processor() or platform.machine()
        return Hardware(best, 1, name, _cores(), _machine_memory_mb(), False, available, world)
    card = torch.cuda.get_device_properties(0)
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    memory_mb = card.total_memory // 2**20
    return Hardware(best, torch.cuda.device_count(), card.name, _cores(), memory_mb, bf16, available, world)


def best_device() -> str:
    """cuda, else mps, else cpu."""
    return next(name for name in ("cuda", "mps", "cpu") if _available(name))


def rank_and_world() -> tuple[int, int]:
    """This process's place among those that torchrun started, and their number; (0, 1) without torchrun."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def make_fabric(train: TrainSpec) -> Fabric:
    """Fabric for a `train` section, launched.

    Raises MissingExtraError where Fabric is not installed, SpecError for several devices without torchrun.
    """
    _, world = rank_and_world()
    asked = world if train.devices == "auto" else train.devices
    if asked != world:
        raise SpecError(
            Problem(
                "train.devices",
                f"{asked} devices are asked for, but this process is one of {world}",
                "several devices need a process each",
                f"torchrun --nproc-per-node {asked} -m espalier train spec.yaml",
            )
        )
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    device = best_device() if train.device == "auto" else train.device
    if device == "cpu" and train.precision == "fp16":
        raise SpecError(Problem("train.precision", "a CPU does not train in fp16", fix="use bf16 or fp32"))
    precision: Any = _PRECISION["fp32" if train.precision == "auto" else train.precision]
    fabric: Fabric = importlib.import_module(_package()).Fabric(
        accelerator=device,
        devices=local,
        num_nodes=max(1, world // local),
        strategy=_strategy(train, world),
        precision=precision,
    )
    fabric.launch()
    return fabric


def leave_group() -> None:
    """End this process's part in the group that Fabric joined, if it joined one.

    The group's threads must not outlive the interpreter: it then aborts now and then ("terminate called without an
    active exception"), and a training that went well ends as failed.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _strategy(train: TrainSpec, world: int) -> Any:
    """Fabric's strategy. Raises SpecError for what sharded weights can't do."""
    if world == 1 or train.strategy == "single":
        return "auto"
    if train.strategy != "fsdp":
        return "ddp"
    if train.ema_decay:
        raise SpecError(
            Problem(
                "train.ema_decay",
                "averaged weights are not kept of sharded ones",
                fix="set it to 0, or use train.strategy=ddp",
            )
        )
    if train.precision == "fp16":
        raise SpecError(Problem("train.precision", "sharded weights train in fp32 or bf16"))
    kind = importlib.import_module(f"{_package()}.strategies").ModelParallelStrategy
    return kind(shard, data_parallel_size=world, tensor_parallel_size=1)


def _package() -> str:
    """Fabric's own package, or the parent package where only that is installed. Raises MissingExtraError."""
    if importlib.util.find_spec("lightning_fabric") is not None:
        return "lightning_fabric"
    if importlib.util.find_spec("lightning") is None:
        raise MissingExtraError("train", "training")
    version = importlib.metadata.version("lightning")  # read without importing: that would run it
    if version in _COMPROMISED:
        raise MissingExtraError("train", f"training (lightning {version} is a compromised release: remove it)")
    return "lightning.fabric"


def is_out_of_memory(error: BaseException) -> bool:
    """Does this error say that a device's or the machine's memory is spent?"""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def free_cached_memory(device: torch.device) -> None:
    """Hand unused blocks back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def peak_memory_mb(device: torch.device) -> float | None:
    """The most memory used so far: on the GPU, else by this process; None where the system doesn't say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


@contextlib.contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Deterministic algorithms inside, where the device has them; the process's own settings afterwards.

    The number of threads is among these settings: a run that goes on takes the number it began with.
    """
    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic  # a module whose attribute is a property
    benchmark, fill = torch.backends.cudnn.benchmark, deterministic.fill_uninitialized_memory
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it first starts
        torch.use_deterministic_algorithms(True, warn_only=True)
        deterministic.fill_uninitialized_memory = False  # costs time, and nothing here reads such memory
    torch.backends.cudnn.benchmark = not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark, deterministic.fill_uninitialized_memory = benchmark, fill
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def _available(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_available()
    return torch.backends.mps.is_available() if device == "mps" else device == "cpu"


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _machine_memory_mb() -> int | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
