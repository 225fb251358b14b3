"""Opens whatever the user calls a MODEL: a run, a checkpoint folder, a bundle folder or zip."""

from __future__ import annotations

import importlib.util
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from espalier import storage
from espalier.actions.model_info import ModelInfo
from espalier.bundle.bundle import Bundle
from espalier.bundle.manifest import MANIFEST, Decode, Licence
from espalier.errors import InputError, LicenceError, MissingExtraError, ModelError, Problem
from espalier.networks import registry
from espalier.networks.card import Network
from espalier.networks.card import build as build_network
from espalier.runtime.model import backend_of
from espalier.runtime.predictor import Predictor
from espalier.runtime.tiles import Tiles
from espalier.spec.fields import BundleBackend, GraphBackend
from espalier.spec.load import load_spec
from espalier.spec.sections import Spec
from espalier.tasks import base as tasks
from espalier.vision.prepare import Prepare
from espalier.vision.tiling import Tiling

if TYPE_CHECKING:
    from espalier.layers.model import TrainableModel
    from espalier.runtime.backend import Backend

CHECKPOINT, RUN = "checkpoint.json", "run.json"
_LARGEST_INFO_BYTES = 64 * 2**20

Kind = Literal["checkpoint", "bundle"]

lookup = registry.entry
"""What `load_spec` is handed: network name → its spec class and presets."""


class OpenModel(ABC):
    """A model ready to be asked, whatever it was opened from."""

    kind: Kind
    path: Path
    name: str
    task: tasks.Task
    classes: tuple[str, ...]
    prepare: Prepare
    decoder: tasks.Decoder
    params: Mapping[str, Any]
    tiles: Tiles | None
    licences: Sequence[Licence]
    device: str

    @property
    @abstractmethod
    def info(self) -> ModelInfo | None:
        """What the checkpoint says of the model; None for a bundle away from its run."""

    @property
    @abstractmethod
    def spec(self) -> Spec | None:
        """The resolved spec that made the model; None where none is at hand (a bundle away from its run)."""

    @cached_property
    @abstractmethod
    def backend(self) -> Backend:
        """What runs the graph."""

    @abstractmethod
    def module(self) -> TrainableModel:
        """The torch module with its weights, on the CPU. Raises ModelError for a bundle, which holds none."""

    def predictor(self, *, batch_size: int = 8) -> Predictor:
        """prepare → backend → decode."""
        return Predictor(
            self.prepare,
            self.backend,
            self.decoder,
            self.classes,
            self.params,
            batch_size=batch_size,
            tiles=self.tiles,
        )

    @property
    def tiling(self) -> Tiling | None:
        """How large pictures are cut; None where they are asked whole."""
        return None if self.tiles is None else self.tiles.tiling

    @property
    def holds_out(self) -> bool:
        """Did training keep some of the labelled pictures apart (as far as is known)?"""
        return self.info is None or not self.info.trained_on_all

    @property
    def channels(self) -> Any:
        """The channels that pictures are read with."""
        return self.prepare.inputs[0].channels


class BundleModel(OpenModel):
    """A bundle; needs no PyTorch."""

    kind: Kind = "bundle"

    def __init__(self, path: str, device: str, backend: BundleBackend = "auto") -> None:
        self.bundle = Bundle.open(path)
        self._backend: BundleBackend = backend
        manifest = self.bundle.manifest
        self.path, self.name, self.device = Path(path), manifest.name, device
        self.task, self.classes = self.bundle.task, manifest.classes
        self.prepare, self.decoder = self.bundle.prepare, self.bundle.decoder
        self.params, self.licences = manifest.decode.params, manifest.licences
        self.tiles = Tiles.of(manifest.tiles, self.task, path)

    @cached_property
    def backend(self) -> Backend:
        return backend_of(self.bundle, self._backend, device=self.device)

    @cached_property
    def info(self) -> ModelInfo | None:
        """What the run around the bundle says, if it lies in one: a bundle itself keeps no paths to data."""
        return _info_beside(self.path)

    @cached_property
    def spec(self) -> Spec | None:
        """The spec of the run around the bundle, if it lies in one."""
        return None if self.info is None else resolved_spec(self.info)

    def module(self) -> TrainableModel:
        fix = "give the run or the checkpoint that it was exported from"
        raise ModelError(Problem(str(self.path), "is a bundle, which holds no PyTorch weights", fix=fix))


class CheckpointModel(OpenModel):
    """A checkpoint folder; the weights are read when they are first needed."""

    kind: Kind = "checkpoint"

    def __init__(self, path: Path, device: str) -> None:
        self.path, self.device = path, device
        self._info = read_info(path)
        self.card: Network = registry.get(self.info.network)
        self.name = self.info.run or self.info.network
        self.task, self.classes = tasks.get(self.info.task), self.info.classes
        self.prepare = Prepare.from_json(self.info.prepare)
        self.decoder = self.task.decoder(self.info.decode.name, self.info.decode.version)
        self.params, self.licences = self.info.decode.params, self.info.licences
        self.tiles = Tiles.of(self.info.tiles, self.task, str(path))

    @property
    def info(self) -> ModelInfo:
        """What checkpoint.json says."""
        return self._info

    @cached_property
    def spec(self) -> Spec | None:
        """The resolved spec."""
        return resolved_spec(self.info)

    @cached_property
    def backend(self) -> Backend:
        _need_torch("running a checkpoint")
        from espalier.layers.module_backend import ModuleBackend

        return ModuleBackend(self.module(), _torch_device(self.device))

    def module(self) -> TrainableModel:
        _need_torch("opening a checkpoint")
        from espalier.trainer.checkpoint import load_checkpoint

        if self.spec is None or self.spec.network is None:
            raise ModelError(Problem(str(self.path / CHECKPOINT), "its spec has no network"))
        model: TrainableModel = build_network(self.card, self.spec.network, self.classes)
        load_checkpoint(self.path).load_into(model)
        return model.eval()


def open_model(
    path: str | Path, *, device: str = "auto", backend: GraphBackend = "auto", licences: str = "any"
) -> OpenModel:
    """The model at `path`. A run gives its best checkpoint (else its last, else its bundle).

    `backend` "torch" asks for the checkpoint, the others for the bundle; "auto" takes a run's bundle where PyTorch is
    not installed. Raises ModelError for what is no model, damaged, or has nothing for that backend, and LicenceError
    where `licences` is 'commercial' and a part of the model isn't known to allow that.
    """
    model = _opened(path, device, backend)
    if licences == "commercial":
        _refuse(model)
    return model


def _refuse(model: OpenModel) -> None:
    bound = [part for part in model.licences if not part.commercial]
    if bound:
        named = ", ".join(f"{part.name} (licence {part.licence})" for part in bound)
        what = f"comes from weights that may not be used commercially as far as is known: {named}"
        fix = "choose another model, or set licences: any if your use allows it"
        raise LicenceError(Problem(str(model.path), what, fix=fix))


def _opened(path: str | Path, device: str, backend: GraphBackend) -> OpenModel:
    kind, found = _find(str(path), backend)
    if kind == "bundle":
        if backend == "torch":
            raise ModelError(
                Problem(found, "is a bundle, which PyTorch does not run", fix="give the run or checkpoint")
            )
        return BundleModel(found, device, backend)
    if backend not in ("auto", "torch"):
        fix = f"make a bundle first: espalier export {path}"
        raise ModelError(Problem(found, f"is a checkpoint, which {backend} does not run", fix=fix))
    return CheckpointModel(Path(found), device)


def is_model(path: str | Path) -> bool:
    """Is it called a MODEL: a folder or zip that holds run.json, checkpoint.json or bundle.json?"""
    try:
        return any(_has(str(path), name) for name in (MANIFEST, CHECKPOINT, RUN))
    except InputError:
        return False


def resolved_spec(info: ModelInfo) -> Spec:
    """The spec that a checkpoint records; raises SpecError if this version can't read it."""
    return load_spec(info.spec, lookup=lookup)


def read_info(folder: Path) -> ModelInfo:
    """What checkpoint.json says, without PyTorch. Raises ModelError."""
    path = folder / CHECKPOINT
    try:
        raw = storage.read_json(path, limit=_LARGEST_INFO_BYTES)
    except InputError as error:
        raise ModelError(*error.problems) from None
    if not isinstance(raw, Mapping) or raw.get("format_version") != 1:
        version = raw.get("format_version") if isinstance(raw, Mapping) else None
        raise ModelError(Problem(str(path), f"has the format version {version!r}", "this version reads 1"))
    return ModelInfo.from_json(raw, str(path))


def keep_decode(folder: Path, decode: Decode, scores: tasks.Scores) -> None:
    """Writes into a checkpoint how its outputs are decoded from now on, and what it scores so."""
    path = folder / CHECKPOINT
    figures = {key: figure.value for key, figure in scores.figures.items() if math.isfinite(figure.value)}
    raw = storage.read_json(path, limit=_LARGEST_INFO_BYTES)
    storage.write_json(path, {**raw, "decode": decode.model_dump(mode="json"), "figures": figures})


def _find(path: str, backend: GraphBackend) -> tuple[Kind, str]:
    """(kind, path) of the model, told by bundle.json, checkpoint.json or run.json."""
    for kind, name in (("bundle", MANIFEST), ("checkpoint", CHECKPOINT)):
        if _has(path, name):
            return kind, path  # type: ignore[return-value]  # the two words above
    if _has(path, RUN):
        return _in_run(Path(path), backend)
    if not storage.exists(path):
        raise ModelError(Problem(path, "there is no such model", _EXPECTED, "check the path"))
    raise ModelError(Problem(path, "is not a model", _EXPECTED))


_EXPECTED = "a run, a checkpoint folder, a bundle folder or zip (told by run.json, checkpoint.json or bundle.json)"


def _has(path: str, name: str) -> bool:
    try:
        return storage.is_dir(path) and storage.exists(storage.join(path, name))
    except InputError as error:  # a damaged zip
        raise ModelError(*error.problems) from None


def _in_run(run: Path, backend: GraphBackend) -> tuple[Kind, str]:
    checkpoints = [run / "checkpoints" / word for word in ("best", "last")]
    checkpoint = next((folder for folder in checkpoints if (folder / CHECKPOINT).is_file()), None)
    bundle = run / "bundle" if (run / "bundle" / MANIFEST).is_file() else None
    prefer_bundle = backend not in ("auto", "torch") or (backend == "auto" and not _has_torch())
    if bundle is not None and (prefer_bundle or checkpoint is None):
        return "bundle", str(bundle)
    if checkpoint is not None:
        return "checkpoint", str(checkpoint)
    raise ModelError(Problem(str(run), "is a run that has neither a checkpoint nor a bundle", fix="train it first"))


def _info_beside(bundle: Path) -> ModelInfo | None:
    """What the checkpoint of the run around a bundle says, if there is one."""
    for word in ("best", "last"):
        folder = bundle.parent / "checkpoints" / word
        if (folder / CHECKPOINT).is_file():
            return read_info(folder)
    return None


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _need_torch(what: str) -> None:
    if not _has_torch():
        raise MissingExtraError("train", what)


def _torch_device(asked: str) -> str:
    import torch

    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"
