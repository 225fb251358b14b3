"""Class heads carried over by class name, and a published file as the model that a fine-tune starts from."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from espalier.actions.import_weights import import_weights
from espalier.actions.models import open_model
from espalier.actions.start_from import Rows, start_from
from espalier.errors import ModelError, UsageError
from espalier.networks.coco_names import class_names
from espalier.networks.deformable_detr.model import DeformableDetr
from espalier.networks.dino.model import Dino
from espalier.networks.dino.official import FAMILY as DINO
from espalier.runs.run import Run

OLD, NEW = ("unused_0", "cat", "dog"), ("dog", "helmet", "cat")
SMALL = {
    "backbone": {"name": "timm/resnet50", "weights": "none"}, "levels": 4, "width": 32, "hidden": 32, "heads": 8,
    "encoder_layers": 1, "decoder_layers": 1, "queries": 7,
}  # fmt: skip


def test_rows_go_by_name() -> None:
    rows, own = Rows.of(OLD, NEW), torch.zeros(4, 2)
    assert rows.carry(torch.arange(8.0).reshape(4, 2), own, any_object=False)
    assert own.tolist() == [[4, 5], [0, 0], [2, 3], [0, 0]]  # dog, new, cat; the labels' last row is no class
    assert rows.words() == "kept by name: dog, cat; new: helmet; dropped: unused_0"


def test_the_row_of_any_object_stays_whatever_its_class() -> None:
    own = torch.zeros(3)
    Rows.of(OLD, NEW).carry(torch.tensor([7.0, 1.0, 2.0]), own, any_object=True)
    assert own.tolist() == [7, 0, 0]


def test_heads_of_another_width_have_nothing_in_common() -> None:
    assert not Rows.of(OLD, NEW).carry(torch.zeros(3, 5), torch.zeros(3, 4), any_object=False)
    assert not Rows.of(OLD, NEW).carry(None, torch.zeros(3, 4), any_object=False)


def test_two_stages_keep_the_encoder_s_first_row() -> None:
    from espalier.networks.deformable_detr.spec import DeformableDetrSpec

    tiny = {**SMALL, "backbone": {"name": "timm/test_resnet"}, "levels": 2, "finest_stride": 16}
    model = DeformableDetr(DeformableDetrSpec.model_validate({**tiny, "decoder_layers": 2}), NEW)
    assert model.any_object_prefixes() == ("decoder.class_heads.2.",)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as DINO's repository writes it, of COCO's 91 rows."""
    torch.manual_seed(0)
    spec = DINO.spec(SMALL)
    own = DINO.build(spec, class_names(91)).state_dict()
    file = {f"module.{n}": v for o, v in own.items() if "num_batches" not in o for n in DINO.names(o, spec, "original")}
    path = tmp_path_factory.mktemp("published") / "checkpoint0011_4scale.pth"
    torch.save({"model": file, "epoch": 11, "args": argparse.Namespace()}, path)
    return path


def test_a_published_file_becomes_a_model_and_a_start(published: Path, tmp_path: Path) -> None:
    reply = import_weights(file=str(published), as_="dino-coco", out=str(tmp_path / "model"), licence="Apache-2.0")
    assert "names of the original code" in reply.lines[0]
    assert "91 classes (11 of them are rows that COCO's category ids leave unused)" in reply.lines[0]
    opened = open_model(tmp_path / "model", device="cpu", backend="torch")
    assert opened.classes == class_names(91)
    spec = DINO.spec(SMALL)
    torch.manual_seed(1)
    model = DINO.build(spec, ("dog", "helmet"))
    assert isinstance(model, Dino)
    run = Run.create("next", out=tmp_path / "run", action="train")
    before = model.decoder.class_heads[0].weight.detach().clone()
    start_from(model, str(tmp_path / "model"), ("dog", "helmet"), run)
    theirs, ours = opened.module().state_dict(), model.state_dict()
    dog = class_names(91).index("dog")
    for head in ("decoder.class_heads.0.weight", "selection.class_head.bias", "denoising.label.weight"):
        assert torch.equal(ours[head][0], theirs[head][dog])
    assert torch.equal(ours["decoder.class_heads.0.weight"][1], before[1])
    assert torch.equal(ours["selection.content.weight"], theirs["selection.content.weight"])


def test_names_for_the_rows_can_be_given(published: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"sort {n}" for n in range(90)))
    with pytest.raises(ModelError, match="90 names for 91 classes"):
        import_weights(file=str(published), as_="x", out=str(tmp_path / "model"), classes=str(names))
    names.write_text("\n".join(f"sort {n}" for n in range(91)))
    import_weights(file=str(published), as_="x", out=str(tmp_path / "model"), classes=str(names))
    assert open_model(tmp_path / "model", device="cpu", backend="torch").classes[90] == "sort 90"


def test_a_whole_network_needs_a_folder(published: Path) -> None:
    with pytest.raises(UsageError, match=r"is a whole dino(.|\n)*add --out DIR"):
        import_weights(file=str(published), as_="dino-coco")
