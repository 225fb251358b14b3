"""The gate: a bundle that says the same is written whole; any other leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

import espalier
from espalier.backbones.backbone import Backbone
from espalier.bundle.bundle import Bundle, write_zip
from espalier.errors import ParityError, SpecError, StorageError, WorkError
from espalier.exporter import make
from espalier.exporter.golden import drawn
from espalier.exporter.make import make_bundle
from espalier.exporter.parity import check_parity
from espalier.layers.module_backend import ModuleBackend
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend
from espalier.spec.verbs import ExportSpec
from espalier.tasks.base import ImageQuery
from espalier.tasks.classification import ClassificationTarget
from espalier.vision.prepare import BoxesInput, Prepare, PrepareInput, Resize, standard_prepare

from .networks import FarFromZero, Fine, FitsItsTable, Jumps, TiedToItsSize, prepare, samples, seeded, subject


@pytest.fixture(scope="module", autouse=True)
def exported_once() -> Iterator[None]:
    """Each kind of model is traced once: they are seeded, so the bytes are the same, and tracing takes seconds."""
    kept: dict[object, bytes] = {}
    real = make.onnx_bytes

    def cached(model, example, **options):
        key = (type(model), *sorted(options.items()))
        if key not in kept:
            kept[key] = real(model, example, **options)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "onnx_bytes", cached)
        yield


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("make") / "bundle"
    make_bundle(subject(seeded(Fine)), samples(), ExportSpec(dynamic_size=True), folder)
    return folder


def test_what_is_written(bundle_folder):
    bundle = Bundle.open(bundle_folder)
    artifact = bundle.artifact()
    assert artifact.parity.error["logits"] < 1e-4
    assert {1, 3, 4, 8} <= set(artifact.parity.batches)  # 2 was traced
    assert artifact.parity.sizes_hw == ((16, 16), (48, 80))
    assert artifact.metric.name == "accuracy"
    assert artifact.metric.value == artifact.metric.reference
    assert artifact.metric.pictures == 10
    assert artifact.inputs[0].shape == (None, 3, None, None)
    assert bundle.manifest.golden.count == 4
    text = (bundle_folder / "README.md").read_text()
    assert "red, green, blue" in text
    assert "w: MIT, commercial use allowed" in text
    assert not any(p.name.startswith(".") for p in bundle_folder.parent.iterdir())


def test_it_runs(bundle_folder, tmp_path):
    write_zip(bundle_folder, tmp_path / "b.zip")
    model = espalier.load(tmp_path / "b.zip", device="cpu")
    found = model.predict([s.query.image_HWC for s in samples(3)])
    assert [p.score_C.shape for p in found] == [(3,)] * 3


def test_golden_is_what_the_model_itself_says(bundle_folder):
    golden = Bundle.open(bundle_folder).golden()
    said = ModuleBackend(seeded(Fine)).run(golden.inputs)["logits"]
    np.testing.assert_allclose(golden.outputs["logits"], said, rtol=1e-5)


def test_golden_pictures_when_asked(tmp_path):
    options = ExportSpec(golden="images", golden_count=3, parity_images=0)
    made = make_bundle(subject(seeded(Fine)), samples(), options, tmp_path / "b")
    assert made.metric is None
    golden = Bundle.open(tmp_path / "b").golden()
    assert [q["image_HWC"].shape for q in golden.queries] == [
        s.query.image_HWC.shape for s in (samples()[r] for r in (0, 4, 9))
    ]
    with pytest.raises(SpecError, match="needs pictures"):
        make_bundle(subject(seeded(Fine)), [], options, tmp_path / "c")


def test_one_golden_input_is_enough(tmp_path):
    make_bundle(subject(seeded(Fine)), [], ExportSpec(golden_count=1), tmp_path / "b")
    assert Bundle.open(tmp_path / "b").golden().count == 1


# ---- the gate --------------------------------------------------------------------------------------------------------


def test_a_graph_tied_to_its_size_is_refused_by_running_another_size(tmp_path):
    with pytest.raises(WorkError, match="does not take another size"):
        make_bundle(subject(seeded(TiedToItsSize)), [], ExportSpec(dynamic_size=True), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
    make_bundle(subject(seeded(TiedToItsSize)), [], ExportSpec(), tmp_path / "b")  # at its own size it is fine


def test_silent_specialisation_is_found(tmp_path):
    """The model takes any size; its graph says that it does, and was traced with one in it."""
    with pytest.raises(ParityError, match=r"does not run on image \(1, 3, 48, 80\)"):
        make_bundle(subject(seeded(FitsItsTable)), [], ExportSpec(dynamic_size=True), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_the_card_decides_about_free_sizes(tmp_path):
    with pytest.raises(SpecError, match="dynamic_size"):
        make_bundle(subject(seeded(Fine), dynamic_size=False), [], ExportSpec(dynamic_size=True), tmp_path / "b")


def spoilt(change):
    """An ONNX backend whose outputs are changed, as a wrong graph's would be."""

    class Spoilt(OnnxRuntimeBackend):
        def run(self, inputs):
            return change(super().run(inputs), inputs)

    return Spoilt


def test_outputs_outside_the_tolerance(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "OnnxRuntimeBackend", spoilt(lambda out, _: {"logits": out["logits"] * 1.002}))
    with pytest.raises(ParityError, match=r"output 'logits'.*differs from the model by 0\.002"):
        make_bundle(subject(seeded(Fine)), samples(), ExportSpec(), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
    make_bundle(subject(seeded(Fine)), [], ExportSpec(tolerance=0.01), tmp_path / "b")


def test_only_another_batch_than_the_traced_one_differs(tmp_path, monkeypatch):
    def change(out, inputs):
        return {"logits": out["logits"] + (len(inputs["image"]) == 3)}

    monkeypatch.setattr(make, "OnnxRuntimeBackend", spoilt(change))
    with pytest.raises(ParityError):
        make_bundle(subject(seeded(Fine)), [], ExportSpec(), tmp_path / "b")


def test_the_metric_is_gated_too(tmp_path, monkeypatch):
    model, pictures = seeded(FarFromZero), samples(9)
    said = ModuleBackend(model).run({"image": np.stack([prepare()(s.query).arrays["image"] for s in pictures])})
    truths = [ClassificationTarget((int(i),)) for i in said["logits"].argmax(1)]
    right = [replace(s, target=t) for s, t in zip(pictures, truths, strict=True)]
    monkeypatch.setattr(make, "OnnxRuntimeBackend", spoilt(lambda out, _: {"logits": np.roll(out["logits"], 1, 1)}))
    with pytest.raises(ParityError, match=r"accuracy is 0\.0000 where the model has 1\.0000"):
        make_bundle(subject(model), right, ExportSpec(tolerance=0.02), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_bundle_that_was_there(bundle_folder, monkeypatch):
    before = {p: p.read_bytes() for p in bundle_folder.rglob("*") if p.is_file()}
    monkeypatch.setattr(make, "OnnxRuntimeBackend", spoilt(lambda out, _: {"logits": -out["logits"]}))
    with pytest.raises(ParityError):
        make_bundle(subject(seeded(Fine)), [], ExportSpec(), bundle_folder)
    assert {p: p.read_bytes() for p in bundle_folder.rglob("*") if p.is_file()} == before


def test_a_place_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        make_bundle(subject(seeded(Fine)), [], ExportSpec(), tmp_path / "file" / "b")


# ---- a model on a knife's edge ---------------------------------------------------------------------------------------


def on_grey(change):
    """A graph that says something else of grey pictures."""

    def changed(out, inputs):
        grey_B = (inputs["image"][:, 0] == inputs["image"][:, 1]).all((1, 2))
        return {"logits": np.where(grey_B[:, None], change(out["logits"]), out["logits"])}

    return spoilt(changed)


def test_pictures_on_a_knifes_edge_are_counted_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "OnnxRuntimeBackend", on_grey(lambda logits_BC: logits_BC + 2))
    made = make_bundle(subject(seeded(Jumps)), samples(grey=(1, 4)), ExportSpec(), tmp_path / "b")
    parity = made.manifest.artifacts[0].parity
    assert (parity.pictures, parity.unsteady) == (made.parity.items, 2)
    assert made.metric.pictures == 10
    assert "2 of 18 inputs stand on a knife's edge" in (tmp_path / "b/README.md").read_text()


def test_their_metric_is_gated_all_the_same(tmp_path, monkeypatch):
    pictures, model = samples(grey=(1, 4)), seeded(Jumps)
    said = ModuleBackend(model).run({"image": np.stack([prepare()(s.query).arrays["image"] for s in pictures])})
    truths = [ClassificationTarget((int(i),)) for i in said["logits"].argmax(1)]
    right = [replace(s, target=t) for s, t in zip(pictures, truths, strict=True)]
    monkeypatch.setattr(make, "OnnxRuntimeBackend", on_grey(lambda logits_BC: np.roll(logits_BC, 1, 1) + 2))
    with pytest.raises(ParityError, match=r"accuracy is 0\.8000 where the model has 1\.0000"):
        make_bundle(subject(model), right, ExportSpec(), tmp_path / "b")


def test_golden_pictures_are_those_that_the_model_holds(tmp_path):
    options = ExportSpec(golden="images", golden_count=3, parity_images=0)
    pictures = samples(grey=(0, 4))
    make_bundle(subject(seeded(Jumps)), pictures, options, tmp_path / "b")
    golden = Bundle.open(tmp_path / "b").golden()
    chosen = [pictures[row].query.image_HWC for row in (9, 1, 2)]  # 0, 4 and 9 come first
    assert all(np.array_equal(q["image_HWC"], c) for q, c in zip(golden.queries, chosen, strict=True))


def test_where_the_model_holds_nothing_agreement_is_still_a_proof(tmp_path, monkeypatch):
    options = ExportSpec(golden="images", golden_count=3)
    pictures = samples(grey=range(10))
    made = make_bundle(subject(seeded(Jumps)), pictures, options, tmp_path / "b")
    assert (made.parity.unsteady, made.manifest.golden.count) == (0, 3)
    monkeypatch.setattr(make, "OnnxRuntimeBackend", on_grey(lambda logits_BC: logits_BC + 2))
    with pytest.raises(ParityError, match=r"(?s)3 of 3 inputs stand on a knife's edge.*train it longer"):
        make_bundle(subject(seeded(Jumps)), pictures, options, tmp_path / "c")
    assert not (tmp_path / "c").exists()


class Permuted:
    """Rows in another order, as ties may come out."""

    name, device = "permuted", "cpu"

    def __init__(self, order):
        self.order = order

    def run(self, inputs):
        return {"box": inputs["box"][:, self.order]}


def test_match_brings_rows_into_order_first():
    def by_first_column(a, b):
        order = b["box"][0, :, 0].argsort()
        return {"box": b["box"][:, order]}

    inputs = [{"box": np.arange(8.0).reshape(1, 4, 2)}]
    straight, turned = Permuted([0, 1, 2, 3]), Permuted([2, 0, 3, 1])
    assert not check_parity(straight, turned, inputs, 1e-3).passed
    assert check_parity(straight, turned, inputs, 1e-3, by_first_column).passed
    assert not check_parity(straight, turned, [], 1e-3).passed  # nothing compared is nothing proven


# ---- golden inputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prepare", "bands", "dtype"),
    [
        (standard_prepare((16, 16)), 3, np.uint8),
        (standard_prepare((16, 24), channels="grey", bands=1, mean=(0.5,), std=(0.5,)), 1, np.uint8),
        (standard_prepare((16, 16), channels="bands", bands=6, mean=(0,) * 6, std=(1,) * 6), 6, np.uint8),
        (standard_prepare((16, 16), value_range=(0, 65535)), 3, np.uint16),
        (standard_prepare((16, 16), value_range=(100, 4095)), 3, np.uint16),
        (standard_prepare((16, 16), fit="longest_edge"), 3, np.uint8),
    ],
)
def test_drawn_pictures_suit_prepare(prepare, bands, dtype):
    first, again = (list(islice(drawn(prepare, seed=7), 5)) for _ in range(2))
    assert all(np.array_equal(a["image_HWC"], b["image_HWC"]) for a, b in zip(first, again, strict=True))
    assert {a["image_HWC"].shape[2] for a in first} == {bands}
    assert {a["image_HWC"].dtype for a in first} == {np.dtype(dtype)}
    assert len({prepare(ImageQuery(**a)).arrays["image"].shape for a in first}) == 1
    low, high = prepare.inputs[0].value_range
    assert min(a["image_HWC"].std() for a in first) > 0.05 * (high - low)
    assert all(low <= a["image_HWC"].min() <= a["image_HWC"].max() <= high for a in first)


def test_drawn_pairs_and_boxes():
    steps = (Resize("stretch", (8, 8)),)
    inputs = tuple(PrepareInput(n, n, steps=steps) for n in ("before", "after"))
    pair = next(drawn(Prepare(inputs, (BoxesInput(frame="before"),)), seed=0))
    assert sorted(pair) == ["after_HWC", "before_HWC", "box_xyxy"]
    assert pair["box_xyxy"].shape == (3, 4)
    assert not np.array_equal(pair["before_HWC"], pair["after_HWC"])


def test_sizes_are_free_where_pictures_come_out_at_different_sizes(tmp_path):
    varied = replace(subject(seeded(Fine)), prepare=standard_prepare((16, 24), fit="capped_edges"))
    manifest = make_bundle(varied, [], ExportSpec(), tmp_path / "b").manifest
    assert manifest.artifacts[0].inputs[0].shape[2:] == (None, None)
    assert make_bundle(subject(seeded(Fine)), [], ExportSpec(), tmp_path / "c").manifest.artifacts[0].inputs[0].shape[
        2:
    ] == (16, 16)
    fixed = replace(subject(seeded(Fine), dynamic_size=False), prepare=varied.prepare)
    with pytest.raises(SpecError, match="fit=letterbox"):
        make_bundle(fixed, [], ExportSpec(), tmp_path / "d")


def test_an_encoder_that_no_exporter_follows_at_a_free_size(tmp_path):
    model = seeded(Fine)
    part = Backbone.__new__(Backbone)
    torch.nn.Module.__init__(part)
    part.free_size = False
    model.part = part
    with pytest.raises(SpecError, match="on this encoder has a fixed input size"):
        make_bundle(subject(model), samples(), ExportSpec(dynamic_size=True), tmp_path / "b")


def test_the_runtimes_it_was_proven_in(bundle_folder):
    reference, other = Bundle.open(bundle_folder).artifact().runtimes
    assert (reference.backend, other.backend) == ("onnxruntime", "openvino")
    assert reference.error is not None
    assert reference.error < 1e-4
    assert (other.error is None) == (other.note == "not run: not installed")
    said = (bundle_folder / "README.md").read_text()
    assert "Proven in onnxruntime" in said
    assert "openvino" in said
