"""Checkpoints on disk: a folder of safetensors and JSON, replaced so that a kill at any instant leaves a readable one.

`<folder>/model.safetensors` holds the weights that were evaluated (the averaged ones where an EMA is kept),
`trainer.safetensors` what only training needs, `checkpoint.json` everything else. No pickle is written or read.

Replacing: the new folder is written whole beside the old one and flushed to the disk; the old one is renamed to
`.<name>.previous`; the new one takes its name. Between these two renames only the previous one is there: `readable`
finds it, and the next save puts things in order.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from espalier.errors import ModelError, Problem, StorageError
from espalier.trainer.sharding import copy_whole

FORMAT_VERSION = 1
MODEL_FILE, TRAINER_FILE, INFO_FILE = "model.safetensors", "trainer.safetensors", "checkpoint.json"
_LARGEST_INFO_BYTES = 64 * 2**20


@dataclass(frozen=True)
class TrainerState:
    """What resuming needs beside the weights: tensors by name, and plain JSON values."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was opened and whose parts are all there. `info` is checkpoint.json."""

    path: Path
    info: Mapping[str, Any]

    def model_state(self) -> dict[str, Tensor]:
        """The weights by name, on the CPU. Raises ModelError for a damaged file."""
        return self._tensors(MODEL_FILE)

    def trainer_state(self) -> TrainerState:
        """What `resume` goes on with. Raises ModelError for a damaged file."""
        return TrainerState(self._tensors(TRAINER_FILE), self.info["trainer"])

    def load_into(self, model: nn.Module) -> None:
        """Put the weights into `model`. Raises ModelError when names or shapes differ."""
        load_weights(model, self.model_state(), where=str(self.path / MODEL_FILE))

    def _tensors(self, name: str) -> dict[str, Tensor]:
        path = self.path / name
        if _sha256(path) != self.info["sha256"].get(name):
            what = f"the file is damaged: its SHA-256 is not the one in {INFO_FILE}"
            raise ModelError(Problem(str(path), what, fix="copy the checkpoint again"))
        return _tensors(path)


def save_checkpoint(
    folder: Path, model_state: Mapping[str, Tensor], trainer_state: TrainerState, info: Mapping[str, Any]
) -> None:
    """Write the checkpoint and put it in the place of what `folder` held.

    Raises StorageError; what `folder` held then stays.
    """
    fresh, previous = _beside(folder, "new"), _beside(folder, "previous")
    try:
        _repair(folder, previous)
        _remove(fresh)
        fresh.mkdir(parents=True)
        save_file(plain_tensors(model_state), fresh / MODEL_FILE)
        save_file(plain_tensors(trainer_state.tensors), fresh / TRAINER_FILE)
        whole = {"format_version": FORMAT_VERSION, **info, "trainer": dict(trainer_state.values), **_facts(fresh)}
        (fresh / INFO_FILE).write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        for path in (*sorted(fresh.iterdir()), fresh):
            _flush(path)
        _swap(folder, fresh, previous)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        _repair(folder, previous)
        raise StorageError(
            Problem(
                str(folder),
                f"the checkpoint could not be written: {error}",
                "what was there before is untouched",
                "make room or give write access, then go on with --resume",
            )
        ) from error


def load_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, its format, parts and sizes checked. Raises ModelError that says what is wrong."""
    path = readable(folder)
    info = _read_info(path / INFO_FILE)
    if info.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            Problem(
                str(path / INFO_FILE),
                f"unknown format_version {info.get('format_version')!r}",
                f"this version of Espalier reads {FORMAT_VERSION}",
                "update Espalier",
            )
        )
    absent = [part for part in ("files", "sha256", "trainer") if not isinstance(info.get(part), dict)]
    if absent:
        raise ModelError(Problem(str(path / INFO_FILE), f"parts are missing: {', '.join(absent)}"))
    sizes = info["files"]
    for name in (MODEL_FILE, TRAINER_FILE):
        found = (path / name).stat().st_size if (path / name).is_file() else None
        if found is None or found != sizes.get(name):
            what = "missing" if found is None else f"{found} bytes long instead of {sizes.get(name)}"
            raise ModelError(Problem(str(path / name), f"the file is {what}", fix="copy the checkpoint again"))
    return Checkpoint(path, info)


def readable(folder: Path) -> Path:
    """Where the checkpoint of that name is: `folder`, or the previous one where a kill came between two renames."""
    previous = _beside(folder, "previous")
    return previous if previous.exists() and not folder.exists() else folder


def exists(folder: Path) -> bool:
    """Is there a checkpoint, perhaps one whose replacement a kill interrupted?"""
    return (readable(folder) / INFO_FILE).is_file()


def load_weights(model: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Put `state` into `model`, keeping each tensor's device and memory layout. Raises ModelError when they differ."""
    own = model.state_dict()
    problems = [Problem(where, f"'{name}' is missing") for name in sorted(own.keys() - state.keys())]
    problems += [Problem(where, f"'{name}' is not part of the model") for name in sorted(state.keys() - own.keys())]
    problems += [
        Problem(where, f"'{name}' has the shape {tuple(state[name].shape)}", f"the model has {tuple(own[name].shape)}")
        for name in sorted(own.keys() & state.keys())
        if own[name].shape != state[name].shape
    ]
    if problems:
        rest = [] if len(problems) <= 10 else [Problem("", f"… and {len(problems) - 10} more")]
        raise ModelError(*problems[:10], *rest)
    for name, tensor in own.items():
        copy_whole(tensor, state[name])


def plain_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as safetensors takes them: on the CPU, contiguous, none sharing memory with another."""
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        flat = tensor.detach().cpu().contiguous()
        plain[name] = flat.clone() if flat.data_ptr() in seen else flat
        seen.add(flat.data_ptr())
    return plain


def _repair(folder: Path, previous: Path) -> None:
    """Finish what a kill in the middle of a replacement left."""
    if previous.exists() and not folder.exists():
        previous.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def _swap(folder: Path, fresh: Path, previous: Path) -> None:
    if folder.exists():
        folder.rename(previous)
    fresh.rename(folder)
    _flush(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _read_info(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_INFO_BYTES:
            raise ModelError(Problem(str(path), "the file is far larger than a checkpoint.json can be"))
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(Problem(str(path.parent), "this is not a checkpoint: it has no checkpoint.json")) from error
    except OSError as error:
        raise ModelError(Problem(str(path), f"can't be read: {error}")) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(Problem(str(path), f"is not JSON: {error}", fix="copy the checkpoint again")) from error
    if not isinstance(info, dict):
        raise ModelError(Problem(str(path), "does not hold a checkpoint's facts"))
    return info


def _facts(folder: Path) -> dict[str, Any]:
    """Size and checksum of each file of tensors."""
    names = (MODEL_FILE, TRAINER_FILE)
    return {
        "files": {name: (folder / name).stat().st_size for name in names},
        "sha256": {name: _sha256(folder / name) for name in names},
    }


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise ModelError(Problem(str(path), "the file is missing", fix="copy the checkpoint again")) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        loaded: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            Problem(str(path), f"the file is damaged: {error}", fix="copy the checkpoint again")
        ) from error
    return loaded


def _beside(folder: Path, word: str) -> Path:
    return folder.parent / f".{folder.name}.{word}"


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def _flush(path: Path) -> None:
    """Wait until the disk has it. Windows can't open folders, and flushes their entries itself."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
