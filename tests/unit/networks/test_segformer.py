"""SegFormer's own: the decoder's formula, classes of pixels, losses by spec, published files, ties."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from espalier import backbones
from espalier.backbones.registry import find
from espalier.errors import ModelError, SpecError
from espalier.layers.mlp_decoder import MlpDecoder
from espalier.layers.model import Batch
from espalier.networks.segformer import CARD, ties
from espalier.networks.segformer.class_names import CITYSCAPES_ROWS, class_names, data_sets
from espalier.networks.segformer.model import Segformer, build, maps_of
from espalier.networks.segformer.official import FAMILY, official_name
from espalier.networks.segformer.rules import balanced, epochs, lr, width_on
from espalier.networks.segformer.spec import SegformerSpec
from espalier.spec.facts import Facts
from espalier.spec.sections import Spec

CLASSES = ("sky", "tree", "road")


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def segmenter(backbone: str = "timm/test_resnet", classes: tuple[str, ...] = CLASSES, **values: Any) -> Segformer:
    torch.manual_seed(0)
    given = {"width": 16, **values, "backbone": {"name": backbone, "weights": "none"}}
    return build(SegformerSpec.model_validate(given), classes)


# ---- the decoder ------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
def test_the_decoder_gives_what_the_published_order_of_its_layers_gives(training: bool) -> None:
    torch.manual_seed(0)
    decoder = MlpDecoder((6, 8, 10), 12, 4, dropout=0.0).double().train(training)
    maps = [picture(2, c, *size).double() for c, size in ((6, (9, 7)), (8, (5, 4)), (10, (3, 2)))]
    found = decoder(maps)
    raised = []
    for map_, level in zip(maps, decoder.levels, strict=True):
        mixed = level(map_.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        raised.append(functional.interpolate(mixed, size=(9, 7), mode="bilinear", align_corners=False))
    fused = decoder.fuse(torch.cat(raised[::-1], dim=1))
    expected = decoder.classify(functional.relu(decoder.norm(fused)))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("encoder", "width"),
    [("mit_b0", 256), ("mit_b1", 256), ("mit_b2", 768), ("mit_b5", 768), ("fan_tiny_8_p4_hybrid", 768),
     ("timm/resnet18", 256), ("timm/resnet50", 768)],
)  # fmt: skip
def test_the_decoder_is_as_wide_as_published(encoder: str, width: int) -> None:
    assert width_on(backbones.describe(encoder)) == width


@pytest.mark.parametrize(
    ("encoder", "maps"),
    [("mit_b0", "pyramid"), ("fan_tiny_8_p4_hybrid", "dense"), ("fan_tiny_12_p16_224", "pyramid"),
     ("gc_vit_xxtiny", "pyramid")],
)  # fmt: skip
def test_an_encoder_gives_the_maps_of_published_dense_models_where_they_begin_finely(encoder: str, maps: str) -> None:
    assert maps_of(backbones.describe(encoder)) == maps


# ---- what comes out ------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["timm/test_resnet", "mit_b0"])
def test_logits_have_stride_4_and_every_pixel_has_a_class(backbone: str) -> None:
    model, image = segmenter(backbone).eval(), picture(2, 3, 75, 101)
    with torch.no_grad():
        given = model(image=image)
    assert given["logits"].shape == (2, 3, 19, 26)
    raised = functional.interpolate(given["logits"], size=(75, 101), mode="bilinear", align_corners=False)
    assert given["class"].dtype == torch.uint8
    assert torch.equal(given["class"].long(), raised.argmax(1))


def test_an_encoder_whose_maps_begin_coarsely_gives_logits_of_stride_4_too() -> None:
    model = segmenter("timm/test_vit").eval()
    size_hw = backbones.describe("timm/test_vit").size_hw
    assert model.coarse
    with torch.no_grad():
        given = model(image=picture(1, 3, *size_hw))
    assert given["logits"].shape[2:] == tuple(-(-side // 4) for side in size_hw)
    assert given["class"].shape[1:] == size_hw


@pytest.mark.parametrize(("count", "kind"), [(255, torch.uint8), (256, torch.uint16)])
def test_more_than_255_classes_take_16_bits(count: int, kind: torch.dtype) -> None:
    model = segmenter(classes=tuple(map(str, range(count)))).eval()
    with torch.no_grad():
        assert model(image=picture(1, 3, 32, 32))["class"].dtype == kind


# ---- losses ------------------------------------------------------------


def batch() -> Batch:
    classes = torch.randint(-1, 3, (2, 64, 48), generator=torch.Generator().manual_seed(1))
    return Batch({"image": picture(2, 3, 64, 48)}, {"class_HW": classes})


def test_the_loss_is_the_cross_entropy_of_the_raised_logits() -> None:
    model, given = segmenter().eval(), batch()
    raised = functional.interpolate(
        model.logits(given.inputs["image"]), size=(64, 48), mode="bilinear", align_corners=False
    )
    expected = functional.cross_entropy(raised, given.targets["class_HW"], ignore_index=-1)
    found = model.losses(given)
    assert found.keys() == {"cross_entropy", "total"}
    torch.testing.assert_close(found["total"], expected)


@pytest.mark.parametrize("kind", ["cross_entropy", "ohem", "focal", "dice"])
def test_every_kind_reaches_every_parameter(kind: str) -> None:
    model = segmenter(loss={"kind": kind, "dice_weight": 0.5, "class_weights": (1.0, 2.0, 0.5)}, dropout=0.0).train()
    model.losses(batch())["total"].backward()  # type: ignore[no-untyped-call]
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_weights_for_another_number_of_classes_are_told() -> None:
    with pytest.raises(SpecError, match="has 2 numbers for 3 classes"):
        segmenter(loss={"class_weights": (1.0, 2.0)})
    with pytest.raises(SpecError, match="'balanced' needs the data's class counts"):
        segmenter(loss={"class_weights": "balanced"})


def test_balanced_weights_are_roots_of_the_median_count_over_each() -> None:
    weights, _ = balanced(Spec(), Facts(class_counts=(9, 9, 9, 9), class_pixels=lambda: (400, 100, 25, 0)))
    assert weights == (0.3953, 0.7906, 1.5811, 7.9057)
    assert balanced(Spec(), Facts())[0] == "balanced"


def test_by_the_clock_the_minutes_end_the_training() -> None:
    spec, facts = Spec(), Facts(n_train=16)
    timed = spec.model_copy(update={"train": spec.train.model_copy(update={"minutes": 20.0, "by_clock": True})})
    assert epochs(spec, facts)[0] == 300
    assert epochs(timed, facts) == (10_000, "train.minutes end it")


def test_few_pictures_are_learnt_at_a_higher_rate() -> None:
    spec = Spec().model_copy(update={"train": Spec().train.model_copy(update={"batch_size": 4})})
    assert lr(spec, Facts(n_train=24))[0] == 0.001
    assert lr(spec, Facts(n_train=20_000))[0] == lr(spec, Facts())[0] == 0.0003


# ---- published files ------------------------------------------------------------


def nvlabs(model: Segformer, backbone: str) -> dict[str, Tensor]:
    """The model's tensors as NVlabs' file has them, with the layer that it never uses."""
    family: Any = find(backbone)[0]
    named = {official_name(own, family): tensor for own, tensor in model.state_dict().items()}
    return {**named, "decode_head.conv_seg.weight": torch.zeros(3, 4, 1, 1)}


def transformers(tensors: dict[str, Tensor], *, since_5: bool) -> dict[str, Tensor]:
    """NVlabs' names of a MiT's SegFormer as transformers' files have them."""
    attention = ("q_proj", "k_proj", "v_proj", "o_proj", "sequence_reduction.sequence_reduction",
                 "sequence_reduction.layer_norm") if since_5 else ("self.query", "self.key", "self.value",
                 "output.dense", "self.sr", "self.layer_norm")  # fmt: skip
    q, k, v, o, reduce, norm = attention
    block = "stages.{n}.blocks." if since_5 else "encoder.block.{n}."
    rules = (
        (r"backbone\.patch_embed(\d)\.proj", "stages.{n}.patch_embeddings.proj", "encoder.patch_embeddings.{n}.proj"),
        (r"backbone\.patch_embed(\d)\.norm", "stages.{n}.patch_embeddings.layer_norm",
         "encoder.patch_embeddings.{n}.layer_norm"),
        (r"backbone\.norm(\d)", "stages.{n}.layer_norm", "encoder.layer_norm.{n}"),
        (r"backbone\.block(\d)\.", block, block),
    )  # fmt: skip
    parts = (
        ("attn.q.", f"attention.{q}."), ("attn.proj.", f"attention.{o}."), ("attn.sr.", f"attention.{reduce}."),
        ("attn.norm.", f"attention.{norm}."), (".norm1.", ".layernorm_before." if since_5 else ".layer_norm_1."),
        (".norm2.", ".layernorm_after." if since_5 else ".layer_norm_2."),
        ("mlp.fc1.", "mlp.fc1." if since_5 else "mlp.dense1."), ("mlp.fc2.", "mlp.fc2." if since_5 else "mlp.dense2."),
    )  # fmt: skip
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith("decode_head."):
            head = re.sub(
                r"linear_c(\d)", lambda m: f"{'linear_projections' if since_5 else 'linear_c'}.{int(m[1]) - 1}", name
            )
            for theirs, here in (
                ("linear_fuse.conv.", "linear_fuse."),
                ("linear_fuse.bn.", "batch_norm."),
                ("linear_pred.", "classifier."),
            ):
                head = head.replace(theirs, here)
            if "conv_seg" not in head:
                found[head] = tensor
            continue
        for pattern, new, old in rules:
            match = re.match(pattern, name)
            if match:
                start = (new if since_5 else old).format(n=int(match[1]) - 1)
                rest = name[match.end() :]
                if pattern.endswith(r"\."):
                    for official, here in parts:
                        rest = f".{rest}".replace(official, here)[1:]
                name = f"segformer.{start}{rest}"
                break
        if ".attn.kv." in name:
            for part, half in zip((k, v), tensor.chunk(2), strict=True):
                found[name.replace("attn.kv.", f"attention.{part}.")] = half
        else:
            found[name] = tensor
    return found


@pytest.mark.parametrize("code", ["NVlabs", "transformers 4", "transformers 5"])
def test_published_files_of_a_mit_become_ours(code: str) -> None:
    model = segmenter("mit_b0")
    tensors = nvlabs(model, "mit_b0")
    if code != "NVlabs":
        tensors = transformers(tensors, since_5=code.endswith("5"))
    read = FAMILY.read(tensors, {})
    assert (read.network["backbone"]["name"], read.network["width"], len(read.classes)) == ("mit_b0", 16, 3)
    assert (read.code, read.preset) == (code.partition(" ")[0], "segformer_b0_ade_512")
    assert list(read.left) == (["decode_head.conv_seg.weight"] if code == "NVlabs" else [])
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert read.tensors.keys() == own.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in own.items())


def test_a_published_fan_is_told_from_other_sizes() -> None:
    with torch.device("meta"):
        model = segmenter("fan_small_12_p4_hybrid")
        tensors = nvlabs(model, "fan_small_12_p4_hybrid")
    read = FAMILY.read({**tensors, "backbone.cls_token": torch.zeros(1, 1, 384)}, {})
    assert read.network["backbone"]["name"] == "fan_small_12_p4_hybrid"
    assert set(read.left) == {"backbone.cls_token", "decode_head.conv_seg.weight"}


def test_a_file_that_lacks_tensors_is_told() -> None:
    with torch.device("meta"):
        tensors = nvlabs(segmenter("mit_b0"), "mit_b0")
    assert FAMILY.code({"head.weight": torch.zeros(2)}) is None
    del tensors["decode_head.linear_c2.proj.bias"]
    with pytest.raises(ModelError, match=r"1 of \d+ tensors are missing or of another shape: decode_head\.linear_c2"):
        FAMILY.read(tensors, {})
    del tensors["backbone.norm2.weight"]
    with pytest.raises(ModelError, match="its encoder is none that published segmenters have"):
        FAMILY.read(tensors, {})


def test_class_names_are_those_of_the_data_sets() -> None:
    assert {name: len(set(names)) for name, names in data_sets().items()} == {
        "ade20k": 150,
        "cityscapes": CITYSCAPES_ROWS,
    }
    assert class_names(150)[12] == "person"
    assert class_names(19)[-1] == "bicycle"
    assert class_names(2) == ("class_0", "class_1")


# ---- two runs compared ------------------------------------------------------------


def test_only_pixels_of_nearly_equal_classes_may_differ() -> None:
    logits = np.zeros((1, 3, 2, 2), np.float32)
    logits[0, 0] = 10.0
    logits[0, 1, 0, 0] = 9.9999  # class 1 ties in the top left corner, and nowhere else
    expected: dict[str, Any] = {"logits": logits, "class": np.zeros((1, 8, 8), np.uint8)}
    flipped = np.zeros((1, 8, 8), np.uint8)
    flipped[0, 0, 0] = flipped[0, 7, 7] = 1
    flipped[0, 4, 4] = 200  # no class at all
    settled = ties.match_outputs(expected, {"logits": logits, "class": flipped})["class"]
    assert [tuple(map(int, at)) for at in zip(*settled.nonzero(), strict=True)] == [(0, 4, 4), (0, 7, 7)]


def test_ties_read_the_logits_where_the_graph_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ties, "TIE", 0.05)
    logits = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    raised = functional.interpolate(torch.from_numpy(logits), size=(19, 14), mode="bilinear", align_corners=False)
    order = raised.argsort(1, descending=True).numpy().astype(np.uint8)
    values = raised.sort(1, descending=True).values.numpy()
    tied = values[:, 0] - values[:, 1] <= 0.05 * np.abs(logits).max()
    settled = ties.match_outputs({"logits": logits, "class": order[:, 0]}, {"logits": logits, "class": order[:, 1]})[
        "class"
    ]
    assert 0 < tied.sum() < tied.size
    assert np.array_equal(settled == order[:, 0], tied)


def test_exact_is_a_parameter_of_its_decoder() -> None:
    for asked in (False, True):
        rule = CARD.decode(SegformerSpec(exact=asked))
        assert (rule.name, rule.version, rule.params) == ("segmentation_class", 1, {"exact": asked})
