"""Every parity file at hand, each a test of its own; and files that we wrote ourselves, of sizes that no file is of.

The folder is `$ESPALIER_PARITY`, else `../shared/parity` beside the repository. Where there is none, as in CI, the
published numbers go unchecked and the reason says so.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from espalier import backbones
from espalier.errors import ModelError
from parity import files, rules
from parity.classifier import ClassifierFamily
from parity.compare import compare_output
from parity.detector_check import DetectorChecker
from parity.detector_write import DINO_ARGUMENTS, SMALL, write_detector
from parity.documents import NETWORK_RULE, Entry, Input, NetworkDocument, Output, Tolerance
from parity.errors import CheckError
from parity.families.deformable_detr import CHECKER as DEFORMABLE
from parity.families.dino import CHECKER as DINO
from parity.families.fan import CHECKER as FAN
from parity.families.gc_vit import CHECKER as GC_VIT
from parity.report import LATER, lines
from parity.run import check_file
from parity.write import save, write

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("ESPALIER_PARITY") or REPOSITORY.parent / "shared" / "parity")


def _names() -> list[Any]:
    found = files.names(FOLDER) if FOLDER.is_dir() else []
    if not found:
        reason = f"no parity files in {FOLDER}: name their folder by ESPALIER_PARITY"
        return [pytest.param("", marks=pytest.mark.skip(reason=reason), id="no-files")]
    return [pytest.param(name, marks=pytest.mark.slow) if _is_of_a_network(name) else name for name in found]


def _is_of_a_network(name: str) -> bool:
    try:
        return "constructor" in json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False


@pytest.mark.parametrize("name", _names())
def test_a_published_network_is_reproduced(name: str) -> None:
    result = check_file(FOLDER, name)
    if result.status == LATER:
        pytest.skip(result.reason)
    assert result.status == "ok", "\n".join(lines(result, len(name)))


def _dense_names() -> list[Any]:
    documents = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*segformer*.json"))}
    found = [n for n, d in documents.items() if d.get("constructor", {}).get("backbone", "").startswith(FAN.prefix)]
    reason = f"no file of a FAN in a dense model in {FOLDER}"
    return found or [pytest.param("", marks=pytest.mark.skip(reason=reason), id="no-files")]


@pytest.mark.parametrize("name", _dense_names())
def test_the_maps_of_a_published_dense_fan_are_reproduced(name: str) -> None:
    """The encoder alone: the decoder of such a file is another network's."""
    file = files.read(FOLDER, name)
    entries = [Entry.model_validate(entry) for entry in file.document["state_dict"]]
    asked = file.document["input"]
    encoder = backbones.create(file.constructor["backbone"], out="dense", size_hw=tuple(asked["shape"][2:]))
    filled = rules.fill_all([entry for entry in entries if entry.name.startswith("backbone.")])
    own = {n: filled.get(f"backbone.{FAN.official_name(n)}") for n in encoder.state_dict() if "num_batches" not in n}
    assert [n for n, values in own.items() if values is None] == []
    encoder.load_state_dict({n: torch.from_numpy(v) for n, v in own.items() if v is not None}, strict=False)
    with torch.no_grad():
        maps = encoder.eval()(torch.from_numpy(rules.draw_input(Input.model_validate(asked))))
    described = {k: Output.model_validate(v) for k, v in file.document["outputs"].items() if k.startswith("feature/")}
    assert list(described) == [f"feature/{n}" for n in range(len(maps))]
    for (key, output), map_BCHW in zip(described.items(), maps, strict=True):
        finding = compare_output(
            key, map_BCHW.numpy(), output, file.arrays[key], file.document["tolerance"]["relative"]
        )
        assert finding.ok, finding


def _sizes_of(family: ClassifierFamily, quick: str) -> list[Any]:
    at_hand = set(files.names(FOLDER)) if FOLDER.is_dir() else set()
    others = [name for name in family.family.names() if name not in at_hand]
    return [pytest.param(n, marks=pytest.mark.slow if n == quick else pytest.mark.full) for n in others]


@pytest.mark.parametrize("function", _sizes_of(FAN, "fan_small_12_p16_224"))
def test_every_fan_can_be_checked(function: str, tmp_path: Path) -> None:
    width = FAN.family.facts(function).embedding
    features = {"patch_embed": (1, 8, width), "pos_embed": (1, width, 2, 4), "cls_attn_blocks.0": (1, 9, width)}
    write(tmp_path, FAN.subject, {"function": function, "args": {}}, shape=(1, 3, 32, 64), features=features)
    result = check_file(tmp_path, function)
    assert result.status == "ok", lines(result, 0)


@pytest.mark.parametrize("function", _sizes_of(GC_VIT, "gc_vit_tiny"))
def test_every_gc_vit_can_be_checked(function: str, tmp_path: Path) -> None:
    width = GC_VIT.family.facts(function).channels[0]
    features = {"levels.0": (1, 8, 8, 2 * width), "levels.0.blocks.1": (1, 16, 16, width)}
    write(tmp_path, GC_VIT.subject, {"function": function, "args": {}}, shape=(1, 3, 64, 64), features=features)
    result = check_file(tmp_path, function)
    assert result.status == "ok", lines(result, 0)


DETECTORS: list[tuple[DetectorChecker, dict[str, Any]]] = [
    (DEFORMABLE, {"with_box_refine": True}),
    (DEFORMABLE, {"num_feature_levels": 1, "dilation": True}),
    (DEFORMABLE, {"with_box_refine": True, "two_stage": True, "num_feature_levels": 5}),
    (DINO, {"num_feature_levels": 5, "return_interm_indices": [0, 1, 2, 3], "dn_number": 3}),
    (DINO, {"num_feature_levels": 2, "return_interm_indices": [3], "dilation": True}),
    (DINO, {"backbone": "swin_T_224_1k", "dn_labelbook_size": 91}),
    (DINO, {"two_stage_bbox_embed_share": True, "two_stage_class_embed_share": True, "use_dn": False}),
    (DINO, {"dec_pred_class_embed_share": False, "dec_pred_bbox_embed_share": False, "pe_temperatureH": 10000,
            "pe_temperatureW": 10000}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("checker", "settings"), DETECTORS, ids=[", ".join(changes) for _, changes in DETECTORS])
def test_a_detector_of_other_settings_can_be_checked(
    checker: DetectorChecker, settings: dict[str, Any], tmp_path: Path
) -> None:
    arguments = {**(DINO_ARGUMENTS if checker is DINO else SMALL), **settings}
    write_detector(tmp_path, "a", checker.of, arguments, classes=3)
    result = check_file(tmp_path, "a")
    assert result.status == "ok", lines(result, 0)


@pytest.mark.parametrize(
    ("checker", "settings", "reason"),
    [
        (DINO, {"two_stage_type": "no"}, "two_stage_type = 'no' can't be made"),
        (DINO, {"backbone": "convnext_xlarge_22k"}, "the encoder 'convnext_xlarge_22k' has no published names here"),
        (DINO, {"backbone": "swin_T_224_1k", "dilation": True}, "a dilated Swin can't be made"),
        (DINO, {"focal_alpha": 0.5}, "focal_alpha = 0.5 can't be made"),
        (DEFORMABLE, {"two_stage": True}, "two_stage without with_box_refine can't be made"),
    ],
)
def test_a_setting_that_the_product_lacks_is_a_reason(
    checker: DetectorChecker, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        checker.of.family.arguments({**DINO_ARGUMENTS, **settings})


@pytest.mark.parametrize(
    ("function", "args", "ours"),
    [
        ("gc_vit_large", {"resolution": 224}, "gc_vit_large"),
        ("gc_vit_large", {"resolution": 384, "window_size": [12, 12, 24, 12]}, "gc_vit_large_384"),
        ("gc_vit_large_224_21k", {}, "gc_vit_large"),
        ("gc_vit_large_384_21k", {"resolution": 384}, "gc_vit_large_384"),
        ("gc_vit_large_512_21k", {"drop_path_rate": 0.5}, "gc_vit_large_512"),
    ],
)
def test_a_published_constructor_means_the_encoder_of_its_windows(
    function: str, args: dict[str, Any], ours: str
) -> None:
    assert GC_VIT.encoder(document_of(function, args)) == ours


def test_a_resolution_without_a_size_is_told() -> None:
    with pytest.raises(CheckError, match="gc_vit has no size 'gc_vit_base_384'"):
        GC_VIT.encoder(document_of("gc_vit_base", {"resolution": 384}))


@pytest.mark.parametrize(("args", "classes"), [({}, 7), ({"num_classes": 5}, 5)])
def test_the_head_is_as_large_as_the_file_s_where_no_argument_says(args: dict[str, Any], classes: int) -> None:
    subject = FAN.subject(document_of("fan_tiny_12_p16_224", args, head=(7,)))
    assert len(subject.module.state_dict()["head.1.bias"]) == classes


def document_of(function: str, args: dict[str, Any], head: tuple[int, ...] = (1000,)) -> NetworkDocument:
    return NetworkDocument(
        format="espalier-parity-1",
        constructor={"function": function, "args": args},
        input=Input(shape=(1, 3, 32, 32), seed=0, rule="espalier-input-1"),
        mode="eval, float32, CPU",
        parameters=0,
        fill_rule="espalier-fill-1",
        fill_check={},
        tolerance=Tolerance(rule=NETWORK_RULE, relative=2e-5),
        outputs={"logits": Output(shape=(), stored="all")},
        state_dict=[Entry(name="head.bias", shape=head, dtype="float32", kind="param")],
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest FAN at a small size, as a parity file."""
    folder = tmp_path_factory.mktemp("parity")
    constructor = {"function": "fan_tiny_12_p16_224", "args": {"num_classes": 5}}
    write(folder, FAN.subject, constructor, shape=(1, 3, 32, 48), features={"blocks.3": (1, 6, 192)})
    return folder


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("fan_huge_24_p16_224", "fan has no size 'fan_huge_24_p16_224': it has"),
        ("gc_vit_giant", "gc_vit has no size 'gc_vit_giant'"),
        ("fan_small_12_p16_224", "shape cls_token"),
        ("gc_vit_xxtiny", "ours has no such tensor"),
    ],
)
def test_a_file_of_another_size_is_a_fail_and_no_skip(
    written: Path, tmp_path: Path, function: str, reason: str
) -> None:
    document = json.loads((written / "fan_tiny_12_p16_224.json").read_text())
    document["constructor"]["function"] = function
    (tmp_path / "a.json").write_text(json.dumps(document))
    (tmp_path / "a.npz").write_bytes((written / "fan_tiny_12_p16_224.npz").read_bytes())
    result = check_file(tmp_path, "a")
    assert result.status == "FAIL"
    assert reason in "\n".join([result.reason, *lines(result, 0)])


def test_a_file_whose_numbers_are_ours_is_ok_and_a_changed_one_is_not(written: Path, tmp_path: Path) -> None:
    file = files.read(written, "fan_tiny_12_p16_224")
    assert check_file(written, file.name).status == "ok"
    off = file.arrays["logits@float64"] + 1e-5 * np.abs(file.arrays["logits@float64"]).max()
    (tmp_path / "a.json").write_text(json.dumps(file.document))
    save(tmp_path / "a.npz", {**file.arrays, "logits@float64": off})
    failed = check_file(tmp_path, "a")
    assert failed.status == "FAIL"
    assert [finding.what for finding in failed.findings if not finding.ok] == ["logits@float64"]
