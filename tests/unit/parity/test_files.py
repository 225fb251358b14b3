from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity import files, later
from parity.errors import CheckError
from parity.files import ParityFile
from parity.write import save


def write(folder: Path, document: dict[str, Any], arrays: dict[str, files.Array] | None = None) -> Path:
    (folder / "a.json").write_text(json.dumps(document))
    if arrays is not None:
        save(folder / "a.npz", arrays)
    return folder


FLAT = np.zeros(4, np.float32)
LOGITS = {"shape": [2, 2], "stored": "sample", "n": 4, "float64": "logits@float64"}
NETWORK = {"constructor": {"function": "toy"}, "outputs": {"logits": LOGITS}}


def test_a_pair_reads_as_it_was_written(tmp_path: Path) -> None:
    arrays = {"logits": FLAT, "logits@float64": FLAT.astype(np.float64)}
    file = files.read(write(tmp_path, NETWORK, arrays), "a")
    assert (file.name, file.constructor, file.kind) == ("a", {"function": "toy"}, "")
    assert file.arrays.keys() == arrays.keys()


def test_a_file_of_a_function_may_have_no_arrays(tmp_path: Path) -> None:
    assert files.read(write(tmp_path, {"kind": "icdar hmean"}), "a").arrays == {}


@pytest.mark.parametrize(
    ("document", "arrays", "told"),
    [
        (NETWORK, None, "logits is not in the npz"),
        (NETWORK, {"logits": FLAT}, "logits@float64 is not in the npz as float64"),
        (NETWORK, {"logits": FLAT, "logits@float64": FLAT}, "logits@float64 is not in the npz as float64"),
        (NETWORK, {"logits": FLAT[:3], "logits@float64": np.zeros(3)}, "stored as"),
        (NETWORK, {"logits": FLAT, "logits@float64": np.zeros(3)}, r"is \(3,\), not \(4,\)"),
        (
            NETWORK,
            {"logits": FLAT, "logits@float64": np.zeros(4), "x@float64": np.zeros(1)},
            "x@float64 is not described",
        ),
        ({"kind": "k", "arrays": {"m": [[4], "float32"]}}, None, "m is not in the npz"),
        ({"kind": "k", "arrays": {"m": [[4], "float32"]}}, {"m": FLAT, "n": FLAT}, "n is not listed"),
        ({"kind": "k", "arrays": {"m": [[4], "uint8"]}}, {"m": FLAT}, r"m is float32 \[4\], listed as uint8 \[4\]"),
    ],
)
def test_halves_that_contradict_each_other_are_told(
    tmp_path: Path, document: dict[str, Any], arrays: dict[str, files.Array] | None, told: str
) -> None:
    with pytest.raises(CheckError, match=told):
        files.read(write(tmp_path, document, arrays), "a")


@pytest.mark.parametrize("kept", [0, 10, 100, -10])
def test_a_truncated_npz_is_told(tmp_path: Path, kept: int) -> None:
    write(tmp_path, {"kind": "k"}, {"logits": np.arange(1000.0)})
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:kept])
    with pytest.raises(CheckError, match=r"a\.npz can't be read"):
        files.read(tmp_path, "a")


def test_a_changed_byte_of_an_array_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"kind": "k"}, {"logits": np.arange(1000.0)})
    changed = bytearray((tmp_path / "a.npz").read_bytes())
    changed[4000] ^= 1
    (tmp_path / "a.npz").write_bytes(changed)
    with pytest.raises(CheckError, match=r"a\.npz can't be read"):
        files.read(tmp_path, "a")


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_document_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckError, match=r"a\.json"):
        files.read(tmp_path, "a")


def test_an_npz_that_lost_its_document_is_told(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", {"logits": FLAT})
    assert files.names(tmp_path) == ["a"]
    with pytest.raises(CheckError, match=r"a\.json is missing"):
        files.read(tmp_path, "a")


@pytest.mark.parametrize(
    ("document", "network"),
    [
        ({"kind": "dbnet forward"}, "text detection"),
        ({"kind": "icdar2015 detection hmean"}, "text detection"),
        ({"kind": "mal student forward (ViT-small/16 backbone)"}, "mask auto-labelling"),
        ({"kind": "ocr codec, losses, metrics"}, "text recognition"),
        ({"kind": "siamese forward"}, "optical inspection"),
        ({"kind": "metric learning"}, "metric learning"),
        ({"constructor": {"function": "resnet50"}}, ""),
        ({"kind": "of nothing known"}, ""),
        ({}, ""),
    ],
)
def test_networks_to_come_are_known_by_kind(document: dict[str, Any], network: str) -> None:
    assert later.claimed_by(ParityFile("a", document)) == network
