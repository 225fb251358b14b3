"""A bundle reads back, and whatever is wrong with it is said in one clear message."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from espalier import storage
from espalier.bundle.bundle import Bundle, write_zip
from espalier.bundle.manifest import from_text, safe_path, to_text
from espalier.errors import ModelError, ParityError, StorageError
from espalier.vision.tiling import Tiling

from .conftest import CLASSES, golden_set, linear, manifest, write_toy


def edit(folder: Path, change) -> None:
    """Applies `change` to bundle.json's data."""
    path = folder / "bundle.json"
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(data), "utf-8")


def forge(folder: Path, name: str, data: bytes) -> None:
    """Replaces a file and its record, as someone would who can also edit bundle.json."""
    (folder / name).write_bytes(data)

    def change(raw):
        for record in [f for a in raw["artifacts"] for f in a["files"]] + raw["files"]:
            if record["path"] == name:
                record.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())

    edit(folder, change)


def test_round_trip(toy):
    bundle = Bundle.open(toy)
    assert bundle.manifest.classes == CLASSES
    assert bundle.read("model.onnx") == b"graph"
    golden = bundle.golden()
    np.testing.assert_array_equal(golden.inputs["image"], golden_set().inputs["image"])
    assert bundle.unlisted() == []


def test_verify_passes_and_names_the_culprit(toy):
    bundle = Bundle.open(toy)
    report = bundle.verify(linear)
    assert report.passed
    assert report.worst < 1e-6
    assert report.batches == (1, 3)

    bad = bundle.verify(lambda inputs: {"logits": linear(inputs)["logits"] * 1.01})
    assert [c.part for c in bad.checks if not c.passed] == ["graph: logits"]
    assert bad.worst == pytest.approx(0.01, rel=1e-3)
    with pytest.raises(ParityError, match="graph: logits"):
        bad.raise_if_failed("toy")


def test_verify_names_prepare(toy):
    edit(toy, lambda raw: raw["prepare"]["inputs"][0]["steps"][-1].update(mean=[0.4, 0.5, 0.5]))
    report = Bundle.open(toy).verify(linear)
    assert [c.part for c in report.checks if not c.passed] == ["prepare"]


def test_verify_names_decode(toy):
    edit(toy, lambda raw: raw["decode"]["params"].update(temperature=2.0))
    report = Bundle.open(toy).verify(linear)
    assert [c.part for c in report.checks if not c.passed] == ["decode"]
    assert "score" in report.checks[-1].note


def test_zip_is_the_same_bundle_and_repeats(toy, tmp_path):
    first, second = tmp_path / "a.zip", tmp_path / "b.ZIP"
    write_zip(toy, first)
    for path in toy.rglob("*"):
        os.utime(path, (1, 1))
    write_zip(toy, second)
    assert first.read_bytes() == second.read_bytes()
    assert Bundle.open(first).verify(linear).passed
    assert Bundle.open(second).read("README.md") == b"# toy\n"


def test_folder_repeats(tmp_path):
    a, b = write_toy(tmp_path / "a"), write_toy(tmp_path / "deeper" / "b")
    names = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file())
    assert all((a / n).read_bytes() == (b / n).read_bytes() for n in names)


def test_over_fsspec(toy):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(f"{toy}/", "/bundles/toy/", recursive=True)
    try:
        assert Bundle.open("memory://bundles/toy").verify(linear).passed
    finally:
        memory.rm("/bundles", recursive=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model.onnx").write_bytes(b"grapf"), "was changed"),
        (lambda f: (f / "model.onnx").write_bytes(b"grap"), "has 4 bytes"),
        (lambda f: (f / "model.onnx").write_bytes(b"graph" * 9), "has more bytes"),
        (lambda f: (f / "model.onnx").unlink(), "missing"),
        (lambda f: (f / "bundle.json").unlink(), "not a bundle"),
        (lambda f: (f / "bundle.json").write_text(""), "not readable as JSON"),
        (lambda f: (f / "bundle.json").write_text("[" * 100_000), "nested too deeply"),
        (lambda f: (f / "bundle.json").write_text("[1, 2]"), "JSON object"),
        (lambda f: (f / "bundle.json").write_bytes(b"\xff\xfe"), "not readable as JSON"),
        (lambda f: (f / "bundle.json").write_text('{"format_version": 1, "classes": NaN}'), "NaN"),
        (lambda f: (f / "bundle.json").write_text("{" + " " * 9_000_000 + "}"), "larger than 8 MB"),
        (lambda f: edit(f, lambda raw: raw.update(format_version=2)), "pip install -U"),
        (lambda f: edit(f, lambda raw: raw.update(format_version=True)), "format_version: is true"),
        (lambda f: edit(f, lambda raw: raw.pop("format_version")), "missing"),
        (lambda f: edit(f, lambda raw: raw.update(surprise=1)), "surprise"),
        (lambda f: edit(f, lambda raw: raw.update(classes=["a", "a"])), "unique"),
        (lambda f: edit(f, lambda raw: raw["files"][0].update(path="../../etc/passwd")), "plain relative path"),
        (lambda f: edit(f, lambda raw: raw["files"][0].update(path="MODEL.onnx")), "unique"),
        (lambda f: edit(f, lambda raw: raw["files"][0].update(size=-1)), "size"),
        (lambda f: edit(f, lambda raw: raw["files"][0].update(size=2**40)), "more than 16 GB"),
    ],
)  # fmt: skip
def test_spoilt(toy, spoil, message):
    spoil(toy)
    with pytest.raises(ModelError, match=message):
        Bundle.open(toy)


def test_all_damaged_files_are_named_at_once(toy):
    (toy / "model.onnx").write_bytes(b"x")
    (toy / "README.md").unlink()
    with pytest.raises(ModelError) as caught:
        Bundle.open(toy)
    assert len(caught.value.problems) == 2


def test_changed_after_opening(toy):
    bundle = Bundle.open(toy)
    (toy / "model.onnx").write_bytes(b"grapf")
    with pytest.raises(ModelError, match="was changed"):
        bundle.read("model.onnx")


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../b", "C:/x", "a\\b", "a//b", "", ".", "con.txt", "a/NUL", "x.", "é", "a\n", "a b",
     "bundle.json", "BUNDLE.json", "~/x", "-rf", ".hidden", "a/" * 150],
)  # fmt: skip
def test_unsafe_paths(path):
    with pytest.raises(ValueError):
        safe_path(path)


def test_one_wrong_path_is_one_problem(toy):
    edit(toy, lambda raw: raw["artifacts"][0]["files"][0].update(path="../x"))
    with pytest.raises(ModelError) as caught:
        Bundle.open(toy)
    (problem,) = caught.value.problems
    assert problem.where.endswith("artifacts[0].files[0].path")
    assert problem.what.startswith("expected a plain relative path")


def test_link_out_of_the_bundle(toy, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"graph")
    (toy / "model.onnx").unlink()
    (toy / "model.onnx").symlink_to(secret)
    with pytest.raises(ModelError, match="leads out of the bundle"):
        Bundle.open(toy)


@pytest.mark.parametrize("missing", ["", "nowhere", "nowhere.zip"])
def test_not_there(tmp_path, missing):
    with pytest.raises(ModelError):
        Bundle.open(tmp_path / missing)


# ---- zips ----------------------------------------------------------------------------------------------


def repacked(toy: Path, path: Path, change) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in toy.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(toy).as_posix())
        change(archive)
    return path


def test_zip_bomb_is_refused_before_it_is_unpacked(toy, tmp_path):
    bomb = repacked(toy, tmp_path / "bomb.zip", lambda z: z.writestr("golden/x.npy", bytes(60_000_000)))
    assert bomb.stat().st_size < 200_000
    with pytest.raises(ModelError, match="zip bomb"):
        Bundle.open(bomb)


def test_bundle_json_that_unpacks_to_more_than_its_limit(tmp_path):
    path = tmp_path / "big.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", " " * 9_500_000)
    with pytest.raises(ModelError, match="larger than 8 MB"):
        Bundle.open(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z.writestr("README.md", b"other"), "two files of one name"),
        (lambda z: z.writestr("x", b"1" * 99, compress_type=zipfile.ZIP_BZIP2), "method other than"),
        (lambda z: z.writestr("../x", b"1"), "leaves the bundle"),
        (lambda z: z.writestr("/x", b"1"), "leaves the bundle"),
    ],
)
def test_odd_zips(toy, tmp_path, change, message):
    with pytest.raises(ModelError, match=message):
        Bundle.open(repacked(toy, tmp_path / "odd.zip", change))


def test_a_file_without_a_name_in_a_zip(toy, tmp_path):
    path = repacked(toy, tmp_path / "odd.zip", lambda z: z.writestr("nameless", b"1"))
    path.write_bytes(path.read_bytes().replace(b"nameless", b"\0ameless"))  # a name ends at its first zero
    with pytest.raises(ModelError, match="without a name"):
        Bundle.open(path)


def test_unlisted_files_are_told_and_never_read(toy, tmp_path):
    path = repacked(toy, tmp_path / "more.zip", lambda z: z.writestr("evil", b"x"))
    bundle = Bundle.open(path)
    assert bundle.unlisted() == ["evil"]
    with pytest.raises(ModelError, match="not listed"):
        bundle.read("evil")


@pytest.mark.parametrize("keep", [0, 1, 30, 500, -30, -1])
def test_truncated_zip(toy, tmp_path, keep):
    path = tmp_path / "cut.zip"
    write_zip(toy, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError):
        Bundle.open(path)


# ---- golden ---------------------------------------------------------------------------------------------


def npy(header: bytes, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 9000000000)}\n"),
        npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (3,)}\n", b"\x80\x04N." * 6),
        npy(b"__import__('os').system('true')\n"),
        npy(b"(" * 9000),
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}\n", bytes(8)),
    ],
)
def test_forged_golden_arrays(toy, data):
    forge(toy, "golden/input.image.npy", data)
    with pytest.raises(ModelError):
        Bundle.open(toy).golden()


@pytest.mark.parametrize("data", [b"{}", b"[1]", b"[" * 100_000, b"\xff"])
def test_forged_predictions(toy, data):
    forge(toy, "golden/predictions.json", data)
    with pytest.raises(ModelError):
        Bundle.open(toy).golden()


# ---- writing --------------------------------------------------------------------------------------------


def test_failed_proof_leaves_nothing(tmp_path):
    def prove(bundle):
        assert Bundle.open(bundle.path).verify(linear).passed
        raise ParityError("no")

    with pytest.raises(ParityError):
        Bundle.write(tmp_path / "b", manifest(), _contents(), prove=prove)
    assert list(tmp_path.iterdir()) == []


def test_disk_full_leaves_what_was_there(toy, monkeypatch):
    before = (toy / "bundle.json").read_bytes()
    written = []

    def full(path, data):
        if len(written) == 3:
            raise StorageError("disk full")
        written.append(path)

    monkeypatch.setattr(storage, "write_atomic", full)
    with pytest.raises(StorageError):
        Bundle.write(toy, manifest(), _contents())
    assert (toy / "bundle.json").read_bytes() == before
    assert [p.name for p in toy.parent.iterdir()] == ["toy"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_zip_to_a_folder_that_is_no_folder(toy):
    with pytest.raises(StorageError):
        write_zip(toy, "/dev/null/x.zip")


def test_rewriting_replaces_the_whole(toy):
    (toy / "left-over").write_text("x")
    Bundle.write(toy, manifest(b"new"), {**_contents(), "model.onnx": b"new"})
    assert not (toy / "left-over").exists()
    assert Bundle.open(toy).read("model.onnx") == b"new"


def _contents() -> dict[str, bytes]:
    from espalier.bundle import golden

    return {"model.onnx": b"graph", "README.md": b"# toy\n", **golden.to_files(golden_set())}


def test_copy_elsewhere_verifies(toy, tmp_path):
    copy = shutil.copytree(toy, tmp_path / "räksmörgås 梨")
    assert Bundle.open(copy).verify(linear).passed


def test_tiles_are_in_the_manifest_only_where_there_are_some() -> None:
    plain = manifest()
    assert '"tiles"' not in to_text(plain)
    cut = plain.model_copy(update={"tiles": Tiling(64, 0.25).to_json()})
    assert from_text(to_text(cut).encode(), "x") == cut
    assert from_text(to_text(plain).encode(), "x").tiles is None


def test_the_tiling_of_a_bundle_is_read_or_refused(tmp_path: Path) -> None:
    given = {"tiles": Tiling(64, 0.25).to_json()}
    Bundle.write(tmp_path / "b", manifest().model_copy(update=given), _contents())
    assert Bundle.open(tmp_path / "b").tiling == Tiling(64, 0.25)
    Bundle.write(tmp_path / "c", manifest().model_copy(update={"tiles": {"version": 2}}), _contents())
    with pytest.raises(ModelError, match="version 2 is unknown"):
        assert Bundle.open(tmp_path / "c").tiling
