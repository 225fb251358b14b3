from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from espalier.errors import SpecError
from espalier.spec.load import Lookup, load_spec, updated, values_of, with_network

TEXT = """\
network: {name: dino, querys: 3}
train:
  epochs: abc
  optimizer: adamv
  epoch: 3
  lr: 20
  augment: 5
  step_epochs: [1, a]
epochs: 3
data:
  val_fraction: true
"""


def _error(lookup: Lookup, source: Any = None, **options: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(source, lookup=lookup, **options)
    return str(caught.value)


def test_all_problems_at_once_each_with_its_line(lookup: Lookup, tmp_path: Path) -> None:
    path = tmp_path / "dino.yaml"
    path.write_text(TEXT)
    text = _error(lookup, path)
    for line in [
        f"{path}:1: network.querys: unknown field\n  did you mean 'queries'? (integer, 1-2000, default 300)",
        f"{path}:3: train.epochs: 'abc' is not an integer or auto\n"
        "  expected integer or auto, 1-100000 epochs, default auto",
        f"{path}:4: train.optimizer: 'adamv' is not one of adamw, adam, sgd, rmsprop, lion",
        f"{path}:5: train.epoch: unknown field\n  did you mean 'epochs'?",
        f"{path}:6: train.lr: 20 is out of range\n  expected number or auto, above 0, at most 10, default auto",
        f"{path}:7: train.augment: 5 is not a section",
        f"{path}:8: train.step_epochs[1]: 'a' is not an integer",
        f"{path}:9: epochs: unknown field\n  did you mean 'train.epochs'?",
        f"{path}:11: data.val_fraction: true is not a number",
    ]:
        assert line in text


def test_problems_of_the_file_the_overrides_and_an_unknown_network_are_told_together(lookup: Lookup) -> None:
    text = _error(lookup, {"network": {"name": "dini"}, "train": {"lr": -1}}, overrides=["x", "train.epochs=0", "a=["])
    assert "network.name: there is no network 'dini'; the networks are: dino" in text
    assert "train.lr: -1 is out of range" in text
    assert "override 'x': this is not an override" in text
    assert "override: train.epochs: 0 is out of range" in text
    assert "override: a: not YAML" in text


def test_later_wins(lookup: Lookup) -> None:
    text = "network: {name: dino, preset: small}\ntrain: {epochs: 9}\n"
    assert load_spec(text, lookup=lookup).train.epochs == 9
    assert load_spec(text, lookup=lookup).train.lr == 1e-3
    assert load_spec(text, lookup=lookup).network.queries == 100  # type: ignore[union-attr]
    assert load_spec(text, overrides=["train.epochs=11"], lookup=lookup).train.epochs == 11
    assert load_spec(text, overrides={"train.epochs": 12}, lookup=lookup).train.epochs == 12
    assert load_spec(text, positionals={"train.epochs": 13}, lookup=lookup).train.epochs == 13


def test_a_preset_stands_right_below_whoever_names_it(lookup: Lookup) -> None:
    text = "network: {name: dino, queries: 5}\ntrain: {epochs: 9}\n"
    spec = load_spec(text, overrides=["network.preset=small", "train.epochs=3"], lookup=lookup)
    assert (spec.network.queries, spec.train.epochs, spec.train.lr) == (100, 3, 1e-3)  # type: ignore[union-attr]
    text = "network: {name: dino, preset: small}\n"
    spec = load_spec(text, overrides=["network.preset=large"], lookup=lookup)
    assert (spec.network.queries, spec.train.lr) == (900, "auto")  # type: ignore[union-attr]


def test_unknown_preset(lookup: Lookup) -> None:
    text = _error(lookup, {"network.name": "dino", "network.preset": "smal"})
    assert "network.preset: there is no preset 'smal'\n  did you mean 'small'?" in text


def test_overrides_of_every_shape(lookup: Lookup) -> None:
    spec = load_spec(
        {"network.name": "dino"},
        overrides=[
            "train.augment={hflip: 0, vflip: 0.5}",
            "train.freeze=[backbone, 'head.']",
            "network.input.size_hw=[96, 128]",
            "train.lr=1e-3",
            "train.minutes=",
            "predict.images=['*.jpg', b.png]",
            "data.train=photos/a b",
        ],
        lookup=lookup,
    )
    assert (spec.train.augment.hflip, spec.train.augment.vflip, spec.train.augment.scale) == (0, 0.5, (0.35, 1.0))
    assert spec.train.freeze == ("backbone", "head.")
    assert spec.network.input.size_hw == (96, 128)  # type: ignore[union-attr]
    assert (spec.train.lr, spec.train.minutes, spec.predict.images) == (1e-3, None, ("*.jpg", "b.png"))
    assert spec.data.train == "photos/a b"


def test_a_class_called_by_a_number_stays_exactly_that(lookup: Lookup) -> None:
    spec = load_spec("data:\n  classes: [007, 1.50, true, no, ~]\n  train: 2024\n", lookup=lookup)
    assert spec.data.classes == ("007", "1.50", "true", "no", "~")
    assert spec.data.train == "2024"
    assert load_spec(None, overrides=["data.classes=[01,02]"], lookup=lookup).data.classes == ("01", "02")


def test_python_values(lookup: Lookup, tmp_path: Path) -> None:
    spec = load_spec({"data.train": tmp_path, "train": {"lr": np.float32(0.5)}, "network.name": "dino"}, lookup=lookup)
    assert (spec.data.train, spec.train.lr) == (str(tmp_path), 0.5)
    assert "data.classes: [1, 2] is not a list of texts or auto" in _error(lookup, {"data.classes": [1, 2]})
    assert "name: 5 is not text" in _error(lookup, {"name": 5})
    assert "write it in quotes" in _error(lookup, {"name": 5})
    assert "the key 3 is not text" in _error(lookup, {3: 5})


def test_values_that_never_end_are_refused(lookup: Lookup) -> None:
    loop: dict[str, Any] = {}
    loop["train"] = loop
    assert "nested more than 30 deep" in _error(lookup, loop)
    lists: list[Any] = []
    lists.append(lists)
    assert "nested more than 30 deep" in _error(lookup, {"train": {"freeze": lists}})


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 65, "a b", "a\n"])
def test_a_name_that_is_no_folder(lookup: Lookup, name: str) -> None:
    assert "name: the name becomes a folder" in _error(lookup, {"name": name})


def test_pairs_that_run_backwards(lookup: Lookup) -> None:
    text = _error(lookup, {"network": {"name": "dino", "input.value_range": [5, 5]}, "train.augment.scale": [1, 0.5]})
    assert "network.input.value_range: the first value must be smaller than the second" in text
    assert "train.augment.scale: the first value must not be larger than the second" in text


def test_network_needed(lookup: Lookup) -> None:
    assert "the network's name is needed" in _error(lookup, {}, network_needed=True)
    spec = load_spec({"network.backbone.download": True}, lookup=lookup)
    assert spec.network is not None
    assert spec.network.backbone.download is True


def test_unreadable_files(lookup: Lookup, tmp_path: Path) -> None:
    assert "there is no such spec file" in _error(lookup, tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    assert "not UTF-8 text (byte 9)" in _error(lookup, tmp_path / "latin.yaml")
    assert "there is no such spec file" in _error(lookup, "a\0b")


def test_what_an_unreadable_file_would_have_said_is_not_missed(lookup: Lookup) -> None:
    text = _error(lookup, "none.yaml", overrides=["network.queries=3", "train.epochs=x"], network_needed=True)
    assert "there is no such spec file" in text
    assert "override: train.epochs: 'x' is not an integer or auto" in text
    assert "network" not in text.replace("espalier spec NETWORK", "")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.input.size_hw=[32]", "network.input.size_hw: [32] is not a list of 2 integers or auto"),
        ("train.step_epochs=[3,", "override: train.step_epochs: not YAML: "),
        ("data.classes=[a,b,a]", "data.classes: a class is named twice: a"),
        ("data.classes=[]", "data.classes: every class needs a name"),
        ("data.classes=[a,' ']", "data.classes: every class needs a name"),
    ],
)
def test_lists_that_are_wrong(lookup: Lookup, override: str, message: str) -> None:
    assert message in _error(lookup, {"network.name": "dino"}, overrides=[override])


def test_with_network_keeps_the_users_wishes(lookup: Lookup) -> None:
    asked = load_spec({"train.epochs": 2, "network.backbone.name": "timm/resnet10t"}, lookup=lookup)
    spec = with_network(asked, "dino", preset="small", lookup=lookup)
    assert (spec.train.epochs, spec.train.lr, spec.network.queries) == (2, 1e-3, 100)  # type: ignore[union-attr]
    assert spec.network is not None
    assert spec.network.backbone.name == "timm/resnet10t"


def test_updated_and_mapping_round_trip(lookup: Lookup) -> None:
    spec = load_spec({"network": {"name": "dino", "preset": "small"}}, lookup=lookup)
    assert load_spec(values_of(spec), lookup=lookup) == spec
    assert updated(spec, {"train.lr": 0.5}, lookup=lookup).train.lr == 0.5
    assert isinstance(spec.network, BaseModel)
    with pytest.raises(SpecError, match=r"train.lr: -1 is out of range"):
        updated(spec, {"train": {"lr": -1}}, lookup=lookup)


def test_a_network_s_own_field_without_the_network_s_name_says_so(lookup: Lookup) -> None:
    with pytest.raises(SpecError, match=r"network\.loss: unknown field(.|\n)*say which it is, as in network\.name="):
        load_spec(None, overrides=["network.loss.kind=focal"], lookup=lookup)
