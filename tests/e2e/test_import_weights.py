"""An official file, imported as a model, says what the published encoder and classifier say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import draw_photos

import espalier
from espalier import backbones
from espalier.actions.import_weights import import_weights
from espalier.actions.models import open_model
from espalier.backbones.family import HouseFamily
from espalier.backbones.official import official_names, shapes
from espalier.backbones.registry import find
from espalier.errors import ModelError, RunExistsError, UsageError
from espalier.layers.module_backend import ModuleBackend
from parity import rules
from parity.documents import Entry, Input

ENCODERS = ["fan_tiny_8_p4_hybrid", "gc_vit_xxtiny"]
PARITY = Path(__file__).parents[3] / "shared" / "parity"
CLASSES = ("bars", "disc", "plain")


def official_tensors(encoder: str, classes: int) -> dict[str, torch.Tensor]:
    """A state dict as its publisher names it, filled by rule, with a classifier."""
    family, name = find(encoder)
    assert isinstance(family, HouseFamily)
    ours, official = shapes(family, name), official_names(family, name)
    wanted = {official[own]: shape for own, shape in ours.items()}
    width = family.facts(name).embedding
    wanted |= {"head.weight": torch.Size([classes, width]), "head.bias": torch.Size([classes])}
    return {name: torch.from_numpy(rules.fill(name, tuple(shape))) for name, shape in wanted.items()}


def official_file(folder: Path, encoder: str, classes: int) -> Path:
    """As the published training script wraps it."""
    tensors = official_tensors(encoder, classes)
    path = folder / f"{encoder}.pth.tar"
    wrapped = {"epoch": 299, "arch": encoder, "state_dict": {}, "metric": np.float64(80.1)}
    torch.save({**wrapped, "state_dict_ema": {f"module.{name}": t for name, t in tensors.items()}}, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_official_file_becomes_a_model_that_is_evaluated(encoder: str, tmp_path: Path) -> None:
    file = official_file(tmp_path, encoder, classes=len(CLASSES))
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASSES) + "\n", "utf-8")
    made = tmp_path / "model"
    reply = import_weights(file=str(file), as_=encoder, out=str(made), classes=str(names))
    assert "mapped by official name" in "\n".join(reply.lines)
    assert reply.data["classes"] == 3

    model = open_model(made, device="cpu")
    assert model.classes == CLASSES
    image = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    found = model.backend.run({"image": image})["logits"]
    np.testing.assert_array_equal(found, directly(encoder, official_tensors(encoder, len(CLASSES)), image))

    few = draw_photos(tmp_path / "photos", classes=CLASSES, count=2)
    scored = espalier.evaluate(
        made, few, out=tmp_path / "scored", overrides={"evaluate": {"bootstrap": 0, "pictures": 1}}, progress=False
    )
    assert 0 <= scored["figures"]["accuracy"]["value"] <= 1
    prepare = model.prepare.to_json()
    assert "bicubic" in json.dumps(prepare)


def directly(encoder: str, tensors: Mapping[str, torch.Tensor], image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The encoder, then its published classifier, written out."""
    family, name = find(encoder)
    body = backbones.create(name, out="embedding").eval()
    body.adopt(family.convert(tensors, name).encoder)
    with torch.no_grad():
        (vector,) = body(torch.from_numpy(image))
        logits = torch.nn.functional.linear(vector, tensors["head.weight"], tensors["head.bias"])
    return np.asarray(logits)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_numbers_are_the_published_implementations(encoder: str, tmp_path: Path) -> None:
    if not (PARITY / f"{encoder}.json").is_file():
        pytest.skip("the parity files are not here")
    told = json.loads((PARITY / f"{encoder}.json").read_text("utf-8"))
    filled = rules.fill_all([Entry.model_validate(entry) for entry in told["state_dict"]])
    file = tmp_path / "published.pth.tar"
    torch.save({"state_dict": {name: torch.from_numpy(array) for name, array in filled.items()}}, file)
    import_weights(file=str(file), as_=encoder, out=str(tmp_path / "model"))
    model = open_model(tmp_path / "model", device="cpu")
    assert model.classes[0] == "tench, Tinca tinca"
    assert len(set(model.classes)) == 1000
    image = rules.draw_input(Input.model_validate(told["input"]))
    found = ModuleBackend(model.module()).run({"image": image})["logits"]
    stored = np.load(PARITY / f"{encoder}.npz")["logits"]
    limit = told["tolerance"]["relative"] * max(1e-3, told["outputs"]["logits"]["absmax"])
    assert abs(found - stored).max() <= limit


def test_a_timm_file_becomes_a_model_too(tmp_path: Path) -> None:
    import timm

    published = timm.create_model("test_resnet", num_classes=7).eval()
    torch.save(published.state_dict(), tmp_path / "w.pth")
    import_weights(file=str(tmp_path / "w.pth"), as_="timm/test_resnet", out=str(tmp_path / "model"), licence="MIT")
    model = open_model(tmp_path / "model", device="cpu")
    assert model.classes == tuple(f"class_{n}" for n in range(7))
    assert [(licence.licence, licence.commercial) for licence in model.licences] == [("MIT", True)]
    image = torch.rand(2, 3, 160, 160)
    found = model.backend.run({"image": image.numpy()})["logits"]
    with torch.no_grad():
        expected = published(image).numpy()
    assert abs(found - expected).max() <= 1e-6 * abs(expected).max()


def test_what_can_be_no_model_is_told(tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "w.pth")
    (tmp_path / "two").write_text("a\nb\n")
    (tmp_path / "twice").write_text("a\na\nb\n")
    ask: dict[str, Any] = {"file": str(tmp_path / "w.pth"), "as_": "timm/test_resnet"}
    with pytest.raises(ModelError, match="2 names for 3 classes"):
        import_weights(**ask, out=str(tmp_path / "m"), classes=str(tmp_path / "two"))
    with pytest.raises(UsageError, match="named twice: a"):
        import_weights(**ask, out=str(tmp_path / "m"), classes=str(tmp_path / "twice"))
    with pytest.raises(UsageError, match="add --out"):
        import_weights(**ask, classes=str(tmp_path / "two"))
    with pytest.raises(RunExistsError):
        import_weights(**ask, out=str(tmp_path))
    torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "bare.pth")
    with pytest.raises(ModelError, match="has no classifier over timm/test_resnet"):
        import_weights(file=str(tmp_path / "bare.pth"), as_="timm/test_resnet", out=str(tmp_path / "m"))
    assert not (tmp_path / "m").exists()
