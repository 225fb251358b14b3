"""`espalier.load(bundle)`: a bundle ready to be asked, without PyTorch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from espalier.bundle.bundle import Bundle
from espalier.bundle.manifest import Artifact
from espalier.errors import ModelError, Problem
from espalier.runtime.backend import Backend
from espalier.runtime.backends import READS_ONNX, REFERENCE, onnx_backend
from espalier.runtime.predictor import Predictor
from espalier.runtime.sources import expand_all
from espalier.runtime.tiles import Tiles
from espalier.runtime.video import Frames, VideoSource
from espalier.spec.fields import BundleBackend
from espalier.tasks.base import ImageQuery, Task
from espalier.vision.image import MAX_PIXELS, Source


class LoadedModel:
    """A bundle and the predictor that runs it."""

    def __init__(self, bundle: Bundle, predictor: Predictor) -> None:
        self.bundle = bundle
        self.predictor = predictor

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return self.bundle.manifest.classes

    @property
    def task(self) -> Task:
        """What the model does."""
        return self.bundle.task

    def predict(
        self,
        images: Source | Iterable[Source],
        *,
        recursive: bool = True,
        allow_urls: bool = False,
        max_pixels: int = MAX_PIXELS,
        frames: Frames = Frames(),  # noqa: B008  (frozen)
    ) -> list[Any]:
        """A prediction for each picture: `images` is one or many of file, folder, glob, bytes, array, Pillow picture,
        video (each frame asked for by `frames`).

        Raises ImageError for a picture that can't be read; InputError where there is none.
        """
        asked = self.stream(images, recursive=recursive, allow_urls=allow_urls, max_pixels=max_pixels, frames=frames)
        return [prediction for _, prediction in asked]

    def stream(
        self,
        images: Source | Iterable[Source],
        *,
        recursive: bool = True,
        allow_urls: bool = False,
        max_pixels: int = MAX_PIXELS,
        frames: Frames = Frames(),  # noqa: B008  (frozen)
    ) -> Iterator[tuple[ImageQuery, Any]]:
        """Each picture or frame with its prediction, as they come; a FrameQuery knows its number and its time.

        Cameras and streams are read as well: then frames are dropped rather than falling behind. Frames that are left
        out, and a stream that stops, warn. Raises as `predict` does.
        """
        sources = expand_all(_many(images), frames=frames, recursive=recursive, allow_urls=allow_urls)
        live = any(isinstance(source, VideoSource) and source.live for source in sources)
        predictor = copy.copy(self.predictor)
        predictor.batch_size = 1 if live else predictor.batch_size  # a batch of live frames would be old
        channels = predictor.prepare.inputs[0].channels
        queries = (query for s in sources for query in s.queries(channels=channels, max_pixels=max_pixels))
        yield from predictor.pairs(queries)
        for source in sources:
            for text in source.facts.warnings() if isinstance(source, VideoSource) else ():
                warnings.warn(text, stacklevel=2)


def load(
    path: str | Path,
    *,
    device: str = "auto",
    backend: BundleBackend = "auto",
    batch_size: int = 8,
    threads: int | None = None,
) -> LoadedModel:
    """The bundle at `path`: a folder, a zip, or a run that has one; every file is checked first.

    Raises ModelError for a bundle that is missing, damaged or tampered with, MissingExtraError where the backend is not
    installed.
    """
    bundle = Bundle.open(bundle_path(path))
    runs = backend_of(bundle, backend, device=device, threads=threads)
    return LoadedModel(bundle, predictor(bundle, runs, batch_size=batch_size))


def bundle_path(path: str | Path) -> str:
    """`path`, or the bundle in it when it is a run's folder."""
    inside = Path(path) / "bundle"
    is_run = (Path(path) / "run.json").is_file() and (inside / "bundle.json").is_file()
    return str(inside if is_run else path)


def predictor(bundle: Bundle, runs: Backend, *, batch_size: int = 8) -> Predictor:
    """The predictor of an open bundle."""
    decode = bundle.manifest.decode
    return Predictor(
        bundle.prepare,
        runs,
        bundle.decoder,
        bundle.manifest.classes,
        decode.params,
        batch_size=batch_size,
        tiles=Tiles.of(bundle.manifest.tiles, bundle.task, bundle.path),
    )


def backend_of(
    bundle: Bundle, name: BundleBackend = "auto", *, device: str = "auto", threads: int | None = None
) -> Backend:
    """What runs the bundle's ONNX graph, the reference for `auto`.

    Raises ModelError for a bundle without such a graph, MissingExtraError where the backend is not installed.
    """
    return _made(REFERENCE if name == "auto" else name, bundle, bundle.artifact(), device, threads)


def backend(bundle: Bundle, artifact: Artifact, *, device: str = "auto", threads: int | None = None) -> Backend:
    """What runs that artifact; raises ModelError where this version has no such backend."""
    return _made(artifact.backend, bundle, artifact, device, threads)


def _made(name: str, bundle: Bundle, artifact: Artifact, device: str, threads: int | None) -> Backend:
    if name not in READS_ONNX:
        what = f"the artifact '{artifact.id}' is for the backend '{name}', which this version does not have"
        raise ModelError(Problem(bundle.path, what, f"one of: {', '.join(READS_ONNX)}", "update Espalier"))
    where = f"{bundle.path}: {artifact.files[0].path}"
    return onnx_backend(name, bundle.graph(artifact), device=device, threads=threads, where=where)


def _many(images: Any) -> Iterable[Any]:
    single = isinstance(images, (str, Path, bytes, bytearray, memoryview)) or hasattr(images, "__array_interface__")
    return [images] if single else images
