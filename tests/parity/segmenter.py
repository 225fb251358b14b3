"""A published SegFormer, on MiT or FAN, as the product builds, fills, runs and teaches it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor
from torch.nn import functional

from espalier.backbones.family import HouseFamily
from espalier.backbones.registry import find
from espalier.layers.model import Batch
from espalier.networks.segformer.model import Segformer
from espalier.networks.segformer.official import FAMILY, official_name
from espalier.networks.segformer.spec import SegformerSpec
from parity import rules
from parity.compare import compare_output, compare_values
from parity.documents import NetworkDocument, Output, Positive, known_rule
from parity.errors import CheckError
from parity.files import Array, ParityFile
from parity.findings import Finding, differs, holds, within
from parity.gradients import compare_norm
from parity.network_check import fill_check
from parity.subject import FEATURE, Filled

RAISED, CLASSES = "logits_upsampled", "classes"
CLASSES_STORED = "argmax of logits_upsampled, every 4th row and column"
CLASSES_RULE = "at least 99.9 % equal"
LOSS = (
    "cross entropy of logits_upsampled, ignore_index 255, mean over ALL pixels "
    "(ignored pixels count in the denominator)"
)
TARGET = (
    "numpy RandomState(5).randint(0, num_classes, (B,1,H/32,W/32)), each value repeated 32x32, then rows 0..15 x "
    "columns 0..15 set to 255"
)
_COUNTERS = "num_batches_tracked"
_CELL = 32
_ZERO = 1e-8  # a norm that is zero by mathematics stays below it
_HEAD_KEYS = {"type", "in_channels", "embed_dim", "num_classes", "channels", "dropout_ratio"}


class Grad(BaseModel):
    """The stored norms of the loss's gradients."""

    model_config = ConfigDict(frozen=True)
    array: str
    names: list[str]
    zero_or_unused: list[str]


class Training(BaseModel):
    """The loss of a drawn target. Other words may mean another loss, so they are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    loss_name: Literal[LOSS]  # type: ignore[valid-type]  # a constant, so that the wording stands once
    target: Literal[TARGET]  # type: ignore[valid-type]
    loss: float
    grad: Grad
    tolerance_relative: Positive = 1e-3  # of the gradients' norms


class SegmenterDocument(NetworkDocument):
    """What a segmenter's file has beyond a network's."""

    training: Training | None = None


def segmenter_document(file: ParityFile) -> SegmenterDocument:
    """The typed document. Raises CheckError that names what is missing, wrong or unknown."""
    try:
        document = SegmenterDocument.model_validate(file.document)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise CheckError("; ".join(told[:3])) from None
    return known_rule(document)


class Segmenter:
    """The product's network of a document; `unused` are official tensors that ours doesn't have."""

    def __init__(self, document: SegmenterDocument, noise: Sequence[re.Pattern[str]]) -> None:
        self.document, self.noise = document, noise
        self.spec, self.classes = _asked(document.constructor)
        self.module = Segformer(self.spec, [f"class {n}" for n in range(self.classes)])
        _check_channels(document.constructor["decode_head"], self.module)
        family = find(self.spec.backbone.name)[0]
        assert isinstance(family, HouseFamily)
        self.official = {own: official_name(own, family) for own in self.module.state_dict()}
        known = set(self.official.values())
        self.unused = {entry.name: entry for entry in document.state_dict if entry.name not in known}

    def load(self, filled: Filled) -> None:
        """By the reader of published files, which has to find the same settings and leave what is never used."""
        tensors = {name: torch.from_numpy(values) for name, values in filled.items()}
        read = FAMILY.read(tensors, {})
        found = (read.network["backbone"]["name"], read.network["width"], len(read.classes))
        if found != (self.spec.backbone.name, self.spec.width, self.classes) or set(read.left) != set(self.unused):
            raise CheckError(f"the product reads these tensors as {found}, and leaves {list(read.left)[:3]}")
        self.module.load_state_dict(dict(read.tensors), strict=False)

    def outputs(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        """The outputs and features by the file's keys."""
        maps = self.module.backbone(image_BCHW)
        logits = self.module.logits(image_BCHW)
        raised = functional.interpolate(logits, size=image_BCHW.shape[2:], mode="bilinear", align_corners=False)
        found = {"logits": logits, RAISED: raised, CLASSES: self.module(image_BCHW)["class"][:, ::4, ::4]}
        return found | {f"{FEATURE}{number}": each for number, each in enumerate(maps)}


@dataclass(frozen=True)
class SegmenterChecker:
    """Checks the files of SegFormer. `noise`: official parameters whose gradient is zero by mathematics."""

    noise: Sequence[re.Pattern[str]] = ()

    def claims(self, file: ParityFile) -> bool:
        """By the constructor's keys and the head's type."""
        head = file.constructor.get("decode_head")
        return isinstance(head, Mapping) and head.get("type") == "SegFormerHead"

    def check(self, file: ParityFile) -> Iterator[Finding]:
        """Every comparison that the file asks."""
        document = segmenter_document(file)
        _all_arrays_are_asked(file, document)
        subject = Segmenter(document, self.noise)
        names = list(_names(subject))
        yield from names
        if not all(finding.ok for finding in names):
            return  # with other names nothing can be filled
        filled = rules.fill_all(document.state_dict)
        yield from fill_check(document.fill_check, filled)
        subject.load(filled)
        subject.module.eval()
        yield from _single(file, subject)
        if document.training is not None:
            yield from _training(file, subject, document.training)
        if document.exact():
            yield from _double(file, subject)


def _asked(constructor: Mapping[str, Any]) -> tuple[SegformerSpec, int]:
    """The product's spec, with the published loss, and the number of classes."""
    head = constructor["decode_head"]
    unknown = (constructor.keys() - {"backbone", "decode_head"}) | (head.keys() - _HEAD_KEYS)
    if unknown:
        raise CheckError(f"constructor: {min(unknown)} is none that this family's check knows")
    values = {
        "backbone": {"name": constructor["backbone"], "weights": "none"},
        "width": head["embed_dim"],
        "dropout": head["dropout_ratio"],
        "loss": {"over": "all"},
    }
    return SegformerSpec.model_validate(values), int(head["num_classes"])


def _check_channels(head: Mapping[str, Any], module: Segformer) -> None:
    if tuple(head["in_channels"]) != module.backbone.channels:
        raise CheckError(f"constructor: in_channels {head['in_channels']}, ours has {module.backbone.channels}")


def _all_arrays_are_asked(file: ParityFile, document: SegmenterDocument) -> None:
    """An array that nobody compares would look as if it had been."""
    grad = {document.training.grad.array} if document.training else set()
    unknown = file.arrays.keys() - document.outputs.keys() - set(document.exact().values()) - grad
    if unknown:
        raise CheckError(f"array {min(unknown)} is none that this family's check knows")


def _names(subject: Segmenter) -> Iterator[Finding]:
    """Names and shapes in both directions. What only the file has must be said to get no gradient, and not be ours."""
    document, own = subject.document, subject.module.state_dict()
    ours = {subject.official[name]: tuple(value.shape) for name, value in own.items()}
    theirs = {entry.name: entry.shape for entry in document.state_dict}
    idle = set(document.training.grad.zero_or_unused) if document.training else None
    for name, entry in subject.unused.items():
        if idle is not None and name not in idle and entry.kind == "param":
            yield differs(f"name {name}", "ours has no such tensor")
    yield from (differs(f"name {n}", "only ours has it") for n in ours if n not in theirs)
    both = [n for n in theirs if n in ours]
    yield from (differs(f"shape {n}", f"{ours[n]}, not {theirs[n]}") for n in both if ours[n] != theirs[n])
    trained = {subject.official[name] for name, _ in subject.module.named_parameters()}
    asked = {entry.name for entry in document.state_dict if entry.kind == "param" and entry.name in ours}
    yield from (differs(f"kind {n}", "a parameter on one side only") for n in sorted(trained ^ asked))
    yield holds(f"{len(both)} names and shapes")


def _single(file: ParityFile, subject: Segmenter) -> Iterator[Finding]:
    """Float32: every output and feature, and the parameters' number."""
    document = subject.document
    unused = sum(int(np.prod(entry.shape)) for entry in subject.unused.values() if entry.kind == "param")
    count = sum(parameter.numel() for parameter in subject.module.parameters())
    yield within("parameters", count + unused, document.parameters, 0.5)
    with torch.no_grad():
        ours = subject.outputs(torch.from_numpy(rules.draw_input(document.input)))
    for key, described in document.outputs.items():
        found = _array(key, ours)
        if key == CLASSES:
            yield _same_classes(found, described, file.arrays[key])
        else:
            yield compare_output(key, found, described, file.arrays[key], document.tolerance.relative)


def _double(file: ParityFile, subject: Segmenter) -> Iterator[Finding]:
    """Float64: finds a wrong epsilon, which the noise of float32 hides."""
    document = subject.document
    subject.module.double()
    with torch.no_grad():
        ours = subject.outputs(torch.from_numpy(rules.draw_input(document.input)).double())
    limit = document.tolerance.relative_float64
    assert limit is not None  # known_rule asks it where arrays are exact
    for key, array in document.exact().items():
        yield compare_values(array, _array(key, ours), document.outputs[key], file.arrays[array], limit)


def _same_classes(ours: Array, described: Output, stored: Array) -> Finding:
    if (described.stored, described.rule) != (CLASSES_STORED, CLASSES_RULE):
        raise CheckError(f"outputs.{CLASSES}: stored '{described.stored}', rule '{described.rule}': unknown wording")
    if ours.shape != described.shape or stored.shape != described.shape:
        return differs(CLASSES, f"shape {ours.shape}, not {described.shape}")
    differing = float((ours.astype(np.int64) != stored.astype(np.int64)).mean())
    return Finding(CLASSES, differing / 1e-3, f"{differing:.2%} of the pixels differ")


def _training(file: ParityFile, subject: Segmenter, training: Training) -> Iterator[Finding]:
    """The loss by the product's own `losses`, and the norm of every parameter's gradient."""
    image_BCHW = torch.from_numpy(rules.draw_input(subject.document.input))
    target_BHW = torch.from_numpy(_target(subject))
    total = subject.module.losses(Batch({"image": image_BCHW}, {"class_HW": target_BHW}))["total"]
    limit = subject.document.tolerance.relative * max(1e-3, abs(training.loss))
    yield within("training loss", float(total.detach()), training.loss, limit)
    stored = _stored(file, subject, training.grad)
    named = {subject.official[own]: parameter for own, parameter in subject.module.named_parameters()}
    got = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    for name, gradient in zip(named, got, strict=True):
        norm = 0.0 if gradient is None else float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
        if any(pattern.fullmatch(name) for pattern in subject.noise):
            yield Finding(f"gradient of {name}", norm / _ZERO, f"{norm:.3g}, zero by mathematics")
        else:
            yield compare_norm(name, norm, stored.get(name), training.tolerance_relative)


def _target(subject: Segmenter) -> Array:
    count, _, height, width = subject.document.input.shape
    if height % _CELL or width % _CELL:
        raise CheckError(f"training.target: {height} x {width} px are no multiples of {_CELL}")
    cells = np.random.RandomState(5).randint(0, subject.classes, (count, 1, height // _CELL, width // _CELL))
    target_BHW = cells[:, 0].repeat(_CELL, axis=1).repeat(_CELL, axis=2)
    target_BHW[:, :16, :16] = 255
    return target_BHW.astype(np.int64)


def _stored(file: ParityFile, subject: Segmenter, grad: Grad) -> dict[str, float]:
    norms = file.arrays.get(grad.array)
    if norms is None or norms.shape != (len(grad.names),):
        raise CheckError(f"{grad.array} doesn't hold a norm for each of training.grad.names")
    listed = [*grad.names, *grad.zero_or_unused]
    asked = {entry.name for entry in subject.document.state_dict if entry.kind == "param"}
    if len(set(listed)) != len(listed) or set(listed) != asked:
        raise CheckError("training.grad.names and zero_or_unused are not the parameters, each once")
    return {name: float(norm) for name, norm in zip(grad.names, norms, strict=True)}


def _array(key: str, ours: Mapping[str, Tensor]) -> Array:
    if key not in ours:
        raise CheckError(f"outputs.{key} is none that this family's check knows")
    return np.asarray(ours[key].numpy())
