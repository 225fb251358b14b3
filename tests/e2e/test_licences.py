"""A licence goes with the weights: into the model, into what is trained from it, and past no one who asks."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from tests.conftest import draw_photos

import espalier
from espalier.actions.import_weights import import_weights
from espalier.actions.models import open_model
from espalier.errors import LicenceError
from espalier.runs.run import Run

ENCODER = "timm/test_resnet"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("photos"), count=4)


@pytest.fixture
def bound(tmp_path: Path) -> Path:
    """A model whose weights may not be used commercially."""
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pth")
    import_weights(file=str(tmp_path / "w.pth"), as_=ENCODER, licence="CC-BY-NC-4.0", out=str(tmp_path / "bound"))
    return tmp_path / "bound"


def spec(photos: Path, licences: str, start_from: Path) -> dict[str, object]:
    return {
        "licences": licences,
        "network": {"name": "classifier", "backbone": {"name": ENCODER, "weights": "none"}},
        "data": {"train": str(photos)},
        "train": {"epochs": 1, "batch_size": 4, "start_from": str(start_from)},
    }


def test_a_model_of_bound_weights_is_refused_by_every_verb_that_opens_one(bound: Path, photos: Path) -> None:
    says = rf"(?s)bound: comes from weights that may not be used commercially.*{ENCODER} \(licence CC-BY-NC-4\.0\)"
    wish = {"licences": "commercial"}
    with pytest.raises(LicenceError, match=says):
        espalier.evaluate(bound, photos, overrides=wish, out=bound.parent / "evaluate", progress=False)
    with pytest.raises(LicenceError, match=says):
        espalier.predict(bound, photos, overrides=wish, out=bound.parent / "predict", progress=False)
    with pytest.raises(LicenceError, match=says):
        espalier.export(bound, overrides=wish, out=bound.parent / "export", progress=False)
    with pytest.raises(LicenceError, match=says):
        espalier.explain(bound, photos, overrides=wish, out=bound.parent / "explain", progress=False)
    with pytest.raises(LicenceError, match=says):
        espalier.compare(bound, bound, overrides=wish, out=bound.parent / "compare", progress=False)


def test_what_is_trained_from_a_model_has_its_licences(bound: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(LicenceError, match="may not be used commercially"):
        espalier.train(spec(photos, "commercial", bound), out=tmp_path / "refused", progress=False)
    espalier.train(spec(photos, "any", bound), out=tmp_path / "child", progress=False)
    assert open_model(tmp_path / "child").licences == open_model(bound).licences
    assert [e["licence"] for e in Run.open(tmp_path / "child").events() if e["kind"] == "licence"] == ["CC-BY-NC-4.0"]
    with pytest.raises(LicenceError, match=r"licence CC-BY-NC-4\.0"):
        open_model(tmp_path / "child", licences="commercial")


@pytest.mark.slow
def test_fit_starts_from_a_model_and_has_its_licences(bound: Path, photos: Path, tmp_path: Path) -> None:
    overrides = {**spec(photos, "any", bound), "fit.minutes": 0.1, "fit.label_curve": False, "evaluate.bootstrap": 0}
    del overrides["data"]
    espalier.fit(photos, out=tmp_path / "child", overrides=overrides, progress=False)
    assert open_model(tmp_path / "child").licences == open_model(bound).licences
    assert Run.open(tmp_path / "child").record.parent == str(bound)
