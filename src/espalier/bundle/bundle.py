"""A bundle opened or written: every byte that is read was checked against bundle.json."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from espalier import storage
from espalier.bundle import golden as golden_files
from espalier.bundle import verify as verification
from espalier.bundle.compare import Match
from espalier.bundle.files import ZIP_DATE, Files, FolderFiles, ZipFiles, damaged
from espalier.bundle.golden import GoldenSet
from espalier.bundle.manifest import MANIFEST, MANIFEST_LIMIT, Artifact, File, Manifest, from_text, to_text
from espalier.errors import InputError, ModelError, Problem
from espalier.tasks import base as tasks
from espalier.vision.prepare import Prepare
from espalier.vision.tiling import Tiling

LARGEST_BYTES = 16 * 2**30
"""All files together; far above any bundle we write."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose description was read and whose files were found to be of their stated size and checksum."""

    path: str
    manifest: Manifest
    files: Files

    @classmethod
    def open(cls, path: str | Path, *, check: bool = True) -> Bundle:
        """The bundle in a folder, a zip or behind an fsspec URL.

        `check` reads every file once; without it only what is used is checked, when it is read.
        Raises ModelError for what is missing, damaged, tampered with, unsafe or of an unknown version.
        """
        files = _files(str(path))
        where = f"{files.where}: {MANIFEST}"
        manifest = from_text(_read_limited(files, MANIFEST, MANIFEST_LIMIT, where), where)
        if sum(f.size for f in manifest.all_files()) > LARGEST_BYTES:
            raise damaged(where, f"lists more than {LARGEST_BYTES // 2**30} GB of files")
        bundle = cls(str(path), manifest, files)
        if check:
            bundle.check()
        return bundle

    def check(self) -> None:
        """Raises ModelError naming every file whose size or SHA-256 differs from what bundle.json says."""
        problems: list[Problem] = []
        for record in self.manifest.all_files():
            try:
                _digest(self.files, record)
            except ModelError as error:
                problems.extend(error.problems)
        if problems:
            raise ModelError(*problems)

    def read(self, name: str) -> bytes:
        """The bytes of a listed file, checked."""
        record = self.manifest.file(name)
        if record is None:
            raise ModelError(Problem(f"{self.path}: {name}", f"is not listed in {MANIFEST}"))
        pieces: list[bytes] = []
        _digest(self.files, record, pieces.append)
        return b"".join(pieces)

    def listed(self) -> list[str]:
        """The names of all listed files."""
        return [record.path for record in self.manifest.all_files()]

    def unlisted(self) -> list[str]:
        """Files that lie in the bundle and are never read, because bundle.json does not list them."""
        return sorted(set(self.files.names()) - {*self.listed(), MANIFEST})

    def artifact(self, *, backend: str = "onnxruntime", precision: str | None = None) -> Artifact:
        """The first artifact for that backend (and precision); raises ModelError that names what there is."""
        for artifact in self.manifest.artifacts:
            if artifact.backend == backend and precision in (None, artifact.precision):
                return artifact
        there = ", ".join(f"{a.backend} {a.precision}" for a in self.manifest.artifacts)
        raise ModelError(Problem(self.path, f"has nothing for the backend '{backend}'", f"it has: {there}"))

    def graph(self, artifact: Artifact) -> bytes:
        """The first file of an artifact, which is the graph."""
        return self.read(artifact.files[0].path)

    @property
    def task(self) -> tasks.Task:
        """The task; raises ModelError where this version has no such task."""
        try:
            return tasks.get(self.manifest.task)
        except InputError as error:
            raise ModelError(Problem(f"{self.path}: {MANIFEST}: task", str(error), fix="update Espalier")) from None

    @property
    def prepare(self) -> Prepare:
        """How a query becomes the graph's inputs."""
        return Prepare.from_json(self.manifest.prepare)

    @property
    def tiling(self) -> Tiling | None:
        """How large pictures are cut; None where they are asked whole. Raises ModelError for an unknown version."""
        return None if self.manifest.tiles is None else Tiling.from_json(self.manifest.tiles)

    @property
    def decoder(self) -> tasks.Decoder:
        """How raw outputs become predictions; its parameters are `manifest.decode.params`."""
        return self.task.decoder(self.manifest.decode.name, self.manifest.decode.version)

    def golden(self) -> GoldenSet:
        """The golden set; raises ModelError if the bundle has none."""
        if self.manifest.golden is None:
            raise ModelError(Problem(self.path, "has no golden set to be verified against", fix="export it anew"))
        return golden_files.from_files(self, self.manifest.golden.count, self.path)

    def verify(
        self,
        run: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]],
        *,
        tolerance: float | None = None,
        match: Match | None = None,
    ) -> verification.VerifyReport:
        """What differs on this machine: `run` takes the graph's inputs to its outputs, as a Backend's `run` does."""
        self.check()
        stated = 1e-3 if self.manifest.golden is None else self.manifest.golden.tolerance
        return verification.verify(
            self.golden(),
            run,
            questions=verification.Questions(self.task, self.prepare, self.decoder, self.manifest, self.tiling),
            tolerance=stated if tolerance is None else tolerance,
            match=match,
        )

    @staticmethod
    def write(
        folder: str | Path,
        manifest: Manifest,
        contents: Mapping[str, bytes],
        *,
        prove: Callable[[Bundle], None] = lambda _: None,
    ) -> Manifest:
        """Writes a bundle folder, all of it or nothing, and gives the manifest with `files` filled in.

        `contents` holds every file by its path, those of the artifacts too. `prove` is given the written bundle before
        it takes its place. Raises StorageError, and what `prove` raises; what was in `folder` then stays.
        """
        whole = with_files(manifest, contents)
        with storage.atomic_folder(folder) as fresh:
            for name, data in sorted(contents.items()):
                storage.write_atomic(storage.join(fresh, name), data)
            storage.write_atomic(storage.join(fresh, MANIFEST), to_text(whole))
            prove(Bundle.open(fresh))
        return whole


def record(path: str, data: bytes) -> File:
    """The manifest's record of a file with these bytes."""
    return File(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def with_files(manifest: Manifest, contents: Mapping[str, bytes]) -> Manifest:
    """The manifest, listing in `files` all of `contents` that no artifact lists."""
    used = {f.path for artifact in manifest.artifacts for f in artifact.files}
    rest = tuple(record(path, data) for path, data in sorted(contents.items()) if path not in used)
    return Manifest.model_validate(manifest.model_copy(update={"files": rest}).model_dump())


def write_zip(folder: str | Path, path: str | Path) -> None:
    """The bundle in `folder` as one zip with the same bytes each time: names sorted, no dates, no modes of this system.

    Raises StorageError; a zip that was there then stays.
    """
    bundle = Bundle.open(folder, check=False)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in [MANIFEST, *sorted(bundle.listed())]:
            data = storage.read_bytes(storage.join(folder, name)) if name == MANIFEST else bundle.read(name)
            archive.writestr(_zip_info(name), data, compresslevel=6)
    storage.write_atomic(path, buffer.getvalue())


def _zip_info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, ZIP_DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # "made on Unix" whatever made it, so that the bytes repeat
    info.external_attr = 0o100644 << 16
    return info


def is_bundle(path: str | Path) -> bool:
    """Does `path` look like a bundle: a folder with bundle.json, or a zip that has it at its top?"""
    return storage.is_dir(path) and storage.exists(storage.join(path, MANIFEST))


def _files(path: str) -> Files:
    """The bundle's files. A zip is read by ZipFiles with its own checks, not as the folder that storage sees in it."""
    remote = storage.is_remote(path)
    if path.lower().endswith(".zip") and (Path(path).is_file() or (remote and storage.exists(path))):
        return ZipFiles(path)
    if not storage.is_dir(path):
        raise _absent(path)
    if not storage.exists(storage.join(path, MANIFEST)):
        raise ModelError(Problem(path, f"is not a bundle: it has no {MANIFEST}", fix="give a bundle's folder or zip"))
    return FolderFiles(path)


def _absent(path: str) -> ModelError:
    return ModelError(Problem(path, "there is no such bundle", "expected a bundle's folder or zip", "check the path"))


def _read_limited(files: Files, name: str, limit: int, where: str) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for piece in files.chunks(name):
        size += len(piece)
        if size > limit:
            raise damaged(where, f"is larger than {limit // 2**20} MB, which no bundle's description is")
        pieces.append(piece)
    return b"".join(pieces)


def _digest(files: Files, expected: File, keep: Callable[[bytes], None] | None = None) -> None:
    """Reads the file once, handing its pieces to `keep`; raises ModelError if it is not the file that was listed."""
    where = f"{files.where}: {expected.path}"
    digest, size = hashlib.sha256(), 0
    for piece in files.chunks(expected.path):
        size += len(piece)
        if size > expected.size:
            break
        digest.update(piece)
        if keep is not None:
            keep(piece)
    if size != expected.size:
        word = "more" if size > expected.size else f"{size}"
        raise damaged(where, f"has {word} bytes where bundle.json says {expected.size}")
    if digest.hexdigest() != expected.sha256:
        raise damaged(where, "was changed: its SHA-256 is not the one in bundle.json")
