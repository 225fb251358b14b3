"""Publishers' own weights of the house's encoders: taken when asked for and allowed, never unasked where they bind."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from espalier.backbones import describe, registry, start
from espalier.backbones.conversion import converted, fitting
from espalier.backbones.family import HouseFamily
from espalier.backbones.official import official_names, shapes
from espalier.backbones.weights import cache, fetch, keep, records
from espalier.backbones.weights.commands import list_weights
from espalier.backbones.weights.find import best, find
from espalier.backbones.weights.imagenet import class_names
from espalier.errors import InputError, LicenceError, ModelError
from espalier.spec.sections import BackboneSpec

from .conftest import ENCODER, published

HOUSE = [family for family in registry.families() if isinstance(family, HouseFamily)]
FAN, UNPUBLISHED = "fan_tiny_8_p4_hybrid", "fan_large_24_p16_224"
RECORD = f"{FAN}.nvidia_in1k"


def quiet(text: str) -> None:
    """Says nothing."""


def official_tensors(name: str, *, device: str = "meta") -> dict[str, Tensor]:
    """A published state dict of one of the house's encoders, with a classifier of three classes."""
    family, _ = registry.find(name)
    assert isinstance(family, HouseFamily)
    official = official_names(family, name)
    tensors = {official[own]: torch.zeros(shape, device=device) for own, shape in shapes(family, name).items()}
    head = {"head.weight": (3, family.facts(name).embedding), "head.bias": (3,)}
    return tensors | {key: torch.ones(shape, device=device) for key, shape in head.items()}


@pytest.fixture(scope="module")
def official_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Under the name that its publisher gives it."""
    path = tmp_path_factory.mktemp("published") / "fan_hybrid_tiny.pth.tar"
    torch.save({"state_dict": official_tensors(FAN, device="cpu")}, path)
    return path


@pytest.fixture
def fetched(official_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address gives the official file."""
    monkeypatch.setattr(keep.fetch, "fetch", lambda source, folder: fetch.Fetched(official_file))


# ---- the records ------------------------------------------------------------


@pytest.mark.parametrize("family", HOUSE, ids=lambda family: family.name)
def test_records_speak_of_their_family_and_invent_nothing(family: HouseFamily) -> None:
    offered = records.official().get(family.name, ())
    assert len({record.name for record in offered}) == len(offered)
    for record in offered:
        assert record.backbone in family.names()
        assert record.name.startswith(f"{record.backbone}.")
        assert fetch.is_address(record.source)
        assert record.licence != records.NOT_STATED
        assert record.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", record.sha256)
        assert record.pretraining
        assert list(family.published(record.backbone)).count(record) == 1


def test_the_published_ones_of_fan_and_gc_vit_are_all_there() -> None:
    without = {name for family in HOUSE for name in family.names() if not family.published(name)}
    assert without & {UNPUBLISHED} == {UNPUBLISHED}
    assert all(r.restricted for r in (*records.official()["fan"], *records.official()["gc_vit"]))


def test_weights_of_another_input_size_bring_it() -> None:
    name = "fan_base_16_p4_hybrid.nvidia_in22k_ft_in1k_384"
    record = records.by_name(name)
    assert record is not None
    begin = start.Start.of(cache.WeightFile(Path("none"), record, "", 0, "", ""))
    assert (begin.facts.size_hw, describe(record.backbone).size_hw) == ((384, 384), (224, 224))


def test_the_list_shows_them_by_family_with_their_licences() -> None:
    listed = list_weights()
    text = "\n".join(listed.lines)
    assert "fan, official (research or evaluation only; taken only when asked for):" in text
    assert re.search(rf"  {RECORD} +80.1 % .*NVIDIA Source Code License-NC  not for commercial use", text)
    assert [record["name"] for record in listed.data["official"]["fan"]].count(RECORD) == 1


PUBLISHED_PARAMETERS = {  # with the classifier of 1000 classes
    "fan_tiny_12_p16_224": 7_319_920,
    "fan_small_12_p16_224": 28_345_336,
    "fan_base_18_p16_224": 54_350_320,
    "fan_large_24_p16_224": 80_574_100,
    "fan_tiny_8_p4_hybrid": 7_467_240,
    "fan_small_12_p4_hybrid": 26_117_944,
    "fan_base_16_p4_hybrid": 50_475_048,
    "fan_large_16_p4_hybrid": 76_855_140,
    "gc_vit_xxtiny": 11_995_428,
    "gc_vit_xtiny": 19_981_294,
    "gc_vit_tiny": 28_221_974,
    "gc_vit_tiny2": 34_535_654,
    "gc_vit_small": 51_092_173,
    "gc_vit_small2": 68_615_197,
    "gc_vit_base": 90_320_836,
    "gc_vit_large": 202_075_570,
}


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_every_size_has_the_published_number_of_parameters(name: str) -> None:
    facts = describe(name)
    assert facts.params + 1000 * (facts.embedding + 1) == PUBLISHED_PARAMETERS[name]


def test_imagenets_names_are_a_thousand_different_ones() -> None:
    names = class_names()
    assert len(names) == len(set(names)) == 1000
    assert (names[0], names[134], names[517]) == ("tench, Tinca tinca", "crane (n02012849)", "crane (n03126707)")


# ---- what a spec means ------------------------------------------------------------


def test_official_says_what_there_is_to_fetch(asked_for: list[str]) -> None:
    with pytest.raises(ModelError, match=rf"(?s)not on this machine.*not for commercial use.*fetch {RECORD}"):
        find("official", FAN)
    assert asked_for == []
    with pytest.raises(ModelError, match="no network in tests"):
        find("official", FAN, download=True, say=quiet)
    assert asked_for == [records.by_name(RECORD).source]  # type: ignore[union-attr]


def test_commercial_refuses_them(fetched: None) -> None:
    for weights in ("official", RECORD):
        with pytest.raises(LicenceError, match=r"License-NC.*only what may be used commercially"):
            find(weights, FAN, download=True, licences="commercial", say=quiet)


def test_an_encoder_that_nobody_published_is_told() -> None:
    with pytest.raises(ModelError, match=f"nobody has published weights of {UNPUBLISHED}"):
        find("official", UNPUBLISHED, download=True)
    assert find("auto", UNPUBLISHED)[1].reason.startswith("no weights for it on this machine; it starts")


def test_the_first_fetch_pins_and_later_ones_need_no_network(fetched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    found, decision = find("official", FAN, download=True, say=said.append)
    assert found is not None
    assert (found.record.name, decision.chosen) == (RECORD, RECORD)
    assert "its publisher's own" in decision.reason
    assert "not for commercial use" in decision.reason
    assert "nobody states one, so this one is pinned here" in said[-1]
    monkeypatch.setattr(keep.fetch, "fetch", lambda source, folder: pytest.fail("offline"))
    assert find("official", FAN)[0] == found
    assert find(RECORD, FAN)[0] == found


def test_auto_passes_over_them_and_says_how_to_ask(fetched: None) -> None:
    find("official", FAN, download=True, say=quiet)
    found, decision = find("auto", FAN, download=True, say=quiet)
    assert found is None
    asks = "not for commercial use: network.backbone.weights=official asks for them; it starts from random weights"
    assert decision.reason.endswith(asks)
    with pytest.raises(ModelError, match="weights=official asks for them"):
        find("imagenet", FAN)
    assert best("classification", say=quiet)[0] is None


def test_fit_says_what_it_leaves_aside_with_and_without_weights_at_hand(weight_file: Path) -> None:
    says = "official weights of fan, gc_vit, mit are not for commercial use and are taken only when asked for"
    assert says in str(best("classification")[1])
    keep.import_file(str(weight_file), ENCODER, say=quiet)
    assert says in str(best("classification")[1])


def test_official_of_timms_encoders_is_timms_own(asked_for: list[str]) -> None:
    with pytest.raises(ModelError, match=r"weights fetch resnet18\.a1_in1k"):
        find("official", "resnet18")


# ---- import ------------------------------------------------------------


def test_a_file_with_the_publishers_name_brings_its_licence(official_file: Path) -> None:
    said: list[str] = []
    kept = keep.import_file(str(official_file), FAN, say=said.append)
    assert kept.record.licence == "NVIDIA Source Code License-NC"
    assert f"has the name of {RECORD}" in said[0]
    assert find("official", FAN)[0] == kept
    assert "not for commercial use" in str(find("auto", FAN)[1])  # the user brought it, so it is taken, and told
    with pytest.raises(LicenceError):
        find("official", FAN, licences="commercial")


def test_a_name_never_gives_a_licence_that_allows_more(weight_file: Path, official_file: Path) -> None:
    assert keep.import_file(str(weight_file), "test_resnet.r160_in1k", say=quiet).record.licence == records.NOT_STATED
    assert keep.import_file(str(official_file), RECORD, say=quiet).record.restricted
    mine = keep.import_file(str(official_file), "mine", backbone=FAN, licence="MIT", say=quiet)
    assert mine.record.licence == "MIT"


def test_import_takes_our_names_too(official_file: Path, tmp_path: Path) -> None:
    kept = keep.import_file(str(official_file), FAN, say=quiet)
    again = keep.import_file(str(kept.path), "again", backbone=FAN, say=quiet)
    assert again.tensors_sha256 == kept.tensors_sha256


def test_unknown_encoders_are_told(weight_file: Path) -> None:
    with pytest.raises(InputError, match="close to it: fan_tiny_12_p16_224"):
        keep.import_file(str(weight_file), "mine", backbone="fan_tiny_12_p16", say=quiet)
    with pytest.raises(InputError, match="there is no encoder of that name"):
        find("auto", "fan_tiny")


def test_a_truncated_file_is_told_in_one_message(official_file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pth.tar"
    cut.write_bytes(official_file.read_bytes()[:100_000])
    with pytest.raises(ModelError, match=r"cut\.pth\.tar: can't be read as a weight file: it is truncated") as caught:
        keep.import_file(str(cut), FAN, say=quiet)
    assert len(caught.value.problems) == 1
    assert cache.get(FAN) is None


def test_a_tampered_cache_is_told(official_file: Path) -> None:
    kept = keep.import_file(str(official_file), RECORD, say=quiet)
    content = bytearray(kept.path.read_bytes())
    content[-1] ^= 1
    kept.path.write_bytes(content)
    with pytest.raises(ModelError, match="changed since they were fetched"):
        find("official", FAN)


def test_a_hash_that_the_publisher_states_is_held_against_a_file(
    official_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = records.by_name(RECORD)
    assert record is not None
    monkeypatch.setattr(records, "official_of", lambda backbone: (replace(record, sha256="0" * 64),))
    with pytest.raises(ModelError, match="its publisher states 0000"):
        keep.import_file(str(official_file), FAN, say=quiet)


# ---- a file of another encoder ------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_of", "asked", "says"),
    [
        ("fan_small_12_p4_hybrid", FAN, "not \\(\\d"),
        ("fan_small_12_p4_hybrid", "gc_vit_xxtiny", "is missing"),
        ("gc_vit_xtiny", "gc_vit_xxtiny", "hold all of gc_vit_xxtiny, and more"),  # a deeper one of the same widths
        ("gc_vit_xxtiny", "timm/resnet18", "is missing"),
    ],
)
def test_the_encoder_that_a_file_fits_is_named(file_of: str, asked: str, says: str) -> None:
    with pytest.raises(ModelError, match=rf"w.pth: .*(.|\n)*{says}(.|\n)*") as caught:
        converted(official_tensors(file_of), asked, where="w.pth", name_it="--as ")
    assert str(caught.value).endswith(f"these tensors are those of {file_of}: --as {file_of}")


def test_timms_are_found_by_the_files_name() -> None:
    with pytest.raises(ModelError, match=r"these tensors are those of timm/test_resnet: --as timm/test_resnet"):
        converted(published(), FAN, where="x", name_it="--as ", hints=("test_resnet-1234abcd.pth",))
    with pytest.raises(ModelError, match=r"they fit none of the house's encoders \(fan, gc_vit.*\); those of timm are"):
        converted(published(), FAN, where="x", name_it="--as ", hints=("w.pth",))
    assert fitting({"a": torch.zeros(3)}) is None


def test_a_larger_timm_encoder_is_not_taken_for_a_smaller(tmp_path: Path) -> None:
    import timm

    with torch.device("meta"):
        larger = timm.create_model("resnet34").state_dict()
    with pytest.raises(ModelError, match=r"hold all of timm/resnet18, and more(.|\n)*not of it: layer1\.2"):
        converted(larger, "timm/resnet18", where="x", name_it="--as ")


def test_start_names_the_spec_field(tmp_path: Path) -> None:
    save_file(published(), tmp_path / "w.safetensors")
    spec = BackboneSpec(name="timm/test_vit", weights=str(tmp_path / "w.safetensors"))
    begin = start.choose(spec, task="classification")

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            from espalier import backbones

            self.backbone = backbones.create("timm/test_vit", out="embedding")

    with pytest.raises(ModelError, match=r"w.safetensors: the \d+ tensors don't fit"):
        begin.load(Model())
