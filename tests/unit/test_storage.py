"""Files in folders, zips and elsewhere: read by the same words, written whole or not at all."""

from __future__ import annotations

import builtins
import errno
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espalier import storage
from espalier.errors import InputError, MissingExtraError, StorageError

FILES = {"a.txt": b"one", "in/b.txt": b"two", "in/deep/c.txt": b"three"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {**FILES, ".hidden": b"", ".git/x": b"", "__MACOSX/a": b""}.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
    return tmp_path / "data"


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {**FILES, "__MACOSX/._a": b"", ".hidden": b""}.items():
            file.writestr(name, content)
    return tmp_path / "data.zip"


@pytest.fixture
def remote() -> str:
    import fsspec

    system = fsspec.filesystem("memory")
    for name, content in FILES.items():
        system.pipe_file(f"/bucket/data/{name}", content)
    return "memory://bucket/data"


@pytest.fixture(params=["folder", "zipped", "remote"])
def root(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def test_every_place_is_read_by_the_same_words(root: str) -> None:
    found = storage.list_files(root)
    assert [storage.relative(path, root) for path in found] == sorted(FILES)
    assert [storage.read_bytes(path) for path in found] == [FILES[name] for name in sorted(FILES)]
    assert [storage.relative(path, root) for path in storage.list_files(root, recursive=False)] == ["a.txt"]
    inner = storage.join(root, "in")
    assert storage.is_dir(root)
    assert storage.is_dir(inner)
    assert [storage.relative(path, inner) for path in storage.list_files(inner)] == ["b.txt", "deep/c.txt"]
    assert storage.exists(storage.join(inner, "deep/c.txt"))
    assert not storage.is_dir(storage.join(root, "a.txt"))
    assert not storage.exists(storage.join(root, "none"))
    with storage.open_read(storage.join(inner, "b.txt")) as file:
        file.seek(1)
        assert file.read() == b"wo"
    for missing in ("none", "in/none"):
        with pytest.raises(InputError, match="there is no such file"):
            storage.read_bytes(storage.join(root, missing))
    with pytest.raises(InputError, match="there is no such folder"):
        storage.list_files(storage.join(root, "none"))
    with pytest.raises(InputError, match="more than 2 bytes"):
        storage.read_bytes(storage.join(root, "a.txt"), limit=2)


def test_a_path_may_lead_into_a_zip(zipped: Path) -> None:
    assert storage.read_bytes(f"{zipped}/in/b.txt") == b"two"
    assert storage.read_bytes(f"zip://in/b.txt::{zipped}") == b"two"
    assert storage.relative(f"{zipped}/in/b.txt", f"{zipped}/in") == "b.txt"
    with pytest.raises(InputError, match="needs its file"):
        storage.read_bytes("zip://in/b.txt")


def test_join_leaves_whole_addresses_alone(tmp_path: Path) -> None:
    assert storage.join("photos", "s3://bucket/a.jpg") == "s3://bucket/a.jpg"
    assert storage.join("photos", str(tmp_path / "a")) == str(tmp_path / "a")
    assert storage.join("", "a.jpg") == "a.jpg"
    assert storage.join("s3://bucket/x/", "a.jpg") == "s3://bucket/x/a.jpg"
    assert storage.is_remote("s3://bucket")
    assert not storage.is_remote("zip://a::b.zip")


def test_a_changed_zip_is_read_anew(zipped: Path) -> None:
    assert storage.exists(f"{zipped}/a.txt")
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("longer-name.txt", b"new content")
    assert not storage.exists(f"{zipped}/a.txt")
    assert storage.read_bytes(f"{zipped}/longer-name.txt") == b"new content"


def test_a_broken_zip_and_a_zip_bomb_are_told(tmp_path: Path) -> None:
    broken, bomb = tmp_path / "broken.zip", tmp_path / "bomb.zip"
    broken.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InputError, match=r"broken\.zip: can't be read: "):
        storage.list_files(broken)
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file, file.open("zeros.json", "w") as member:
        for _ in range(65):
            member.write(bytes(1 << 20))
    with pytest.raises(InputError, match="refused as a zip bomb"):
        storage.read_bytes(f"{bomb}/zeros.json")


def test_a_damaged_member_is_told(zipped: Path) -> None:
    content = zipped.read_bytes()
    place = content.index(b"in/deep/c.txt") + len("in/deep/c.txt")
    zipped.write_bytes(content[:place] + b"\xff\xff" + content[place + 2 :])
    with pytest.raises(InputError, match=r"c\.txt"):
        storage.read_bytes(f"{zipped}/in/deep/c.txt")


def test_a_missing_driver_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("s3fs", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, name, None)
    for address, extra in [("s3://b/a.jpg", "s3"), ("gs://b/a.jpg", "gcs"), ("az://b/a.jpg", "azure")]:
        with pytest.raises(MissingExtraError, match=rf"espalier-vision\[{extra}\]"):
            storage.read_bytes(address)
    with pytest.raises(InputError, match=r"ftp:// are not opened"):
        storage.read_bytes("ftp://host/a.jpg")


def test_web_addresses_only_by_their_own_word() -> None:
    with pytest.raises(InputError, match="not opened here"):
        storage.read_bytes("https://example.org/a.jpg")
    with pytest.raises(InputError, match="not a web address"):
        storage.read_url("file:///etc/passwd")
    with pytest.raises(InputError, match="can't be fetched"):
        storage.read_url("http://127.0.0.1:9/a.jpg", timeout_s=1)


def test_json_round_trips_and_mistakes_have_their_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    storage.write_json(path, {"b": np.float32(0.5), "a": np.arange(3), "p": Path("x"), "ü": None})
    assert storage.read_json(path) == {"b": 0.5, "a": [0, 1, 2], "p": "x", "ü": None}
    with pytest.raises(ValueError, match="JSON"):
        storage.write_json(path, {"x": float("nan")})
    path.write_text('{"a": 1,\n "b": }')
    with pytest.raises(InputError, match=r"x\.json:2: not valid JSON"):
        storage.read_json(path)
    path.write_text("[" * 200_000)
    with pytest.raises(InputError, match=r"x\.json"):
        storage.read_json(path)
    path.write_bytes(b'"\xff"')
    with pytest.raises(InputError, match="UTF-8"):
        storage.read_json(path)


def test_writing_replaces_the_whole(tmp_path: Path, remote: str) -> None:
    for path in (tmp_path / "deep" / "x.txt", storage.join(remote, "new/x.txt")):
        storage.write_atomic(path, "first ä")
        storage.write_atomic(path, b"second")
        assert storage.read_bytes(path) == b"second"
    assert os.listdir(tmp_path / "deep") == ["x.txt"]  # noqa: PTH208


def _full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.txt"
    storage.write_atomic(path, "before")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(StorageError, match="the disk is full") as caught:
        storage.write_atomic(path, "after" * 1000)
    assert "x.txt" in str(caught.value)
    assert "--out" in str(caught.value)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def _fail_in_the_middle(target: Path, error: Exception) -> None:
    with storage.atomic_folder(target) as fresh:
        (fresh / "a").write_text("2")
        raise error


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "bundle"
    with storage.atomic_folder(target) as fresh:
        (fresh / "a").write_text("1")
        assert not target.exists()
    for error in (ValueError("no"), OSError(errno.ENOSPC, "")):
        with pytest.raises((ValueError, StorageError), match=r"^no$|the disk is full"):
            _fail_in_the_middle(target, error)
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(StorageError), storage.atomic_folder(target) as fresh:
        (fresh / "a").write_text("3")
    monkeypatch.undo()
    assert [(p.name, p.read_text()) for p in target.iterdir()] == [("a", "1")]
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]
    with storage.atomic_folder(target) as fresh:
        (fresh / "c").write_text("4")
    assert [p.name for p in target.iterdir()] == ["c"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights do not bind root")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="read-only or not yours"):
            storage.write_atomic(tmp_path / "x", "1")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    storage.write_atomic(tmp_path / "x", "before")
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(StorageError, match="read-only or not yours"):
        storage.write_atomic(tmp_path / "x", "after")
    monkeypatch.undo()
    assert (tmp_path / "x").read_text() == "before"


def test_a_file_where_a_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(StorageError, match="x"):
        storage.write_atomic(tmp_path / "x" / "y" / "z", "1")
    with pytest.raises(StorageError, match="a file is where a folder should be made"):
        storage.make_folder(tmp_path / "x")


def test_the_cache_is_where_it_was_asked_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path))
    assert storage.cache_folder() == tmp_path
    monkeypatch.delenv("ESPALIER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert storage.cache_folder() == tmp_path / "xdg" / "espalier"


def test_a_real_full_disk(tmp_path: Path) -> None:
    """/dev/full takes no byte: the one full disk that every Linux has."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="the disk is full"), storage.writing(tmp_path / "full"):
        (tmp_path / "full").write_bytes(json.dumps([0] * 100_000).encode())


def test_a_folder_that_vanishes_while_it_is_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be written: No such file"), storage.writing(tmp_path / "gone"):
        (tmp_path / "gone" / "x").write_bytes(b"")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("rtsp://me:secret@camera/1", "rtsp://camera/1"),
        ("images: [https://me:s@cret@a.org/x.jpg, b.jpg]", "images: [https://a.org/x.jpg, b.jpg]"),
        ("https://a.org/@me/x.jpg", "https://a.org/@me/x.jpg"),
        ("abfs://container@account/x", "abfs://container@account/x"),
        ("zip://a@b.jpg::photos.zip", "zip://a@b.jpg::photos.zip"),
    ],
)
def test_addresses_without_passwords(given: str, kept: str) -> None:
    assert storage.without_password(given) == kept


def test_a_web_address_with_a_password_is_not_fetched() -> None:
    with pytest.raises(InputError, match="behind a password") as caught:
        storage.read_url("http://me:secret@localhost/a.jpg")
    assert "secret" not in str(caught.value)
