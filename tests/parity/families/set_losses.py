"""The set losses of Deformable DETR and DINO: predictions and targets in; matching, terms and gradients out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from espalier.layers.detr import Criterion, Said, Weights
from espalier.layers.matching import ALPHA, GAMMA, Costs, Objects
from parity.detector import Recorder
from parity.detector_document import Matching
from parity.detector_training import LOGGED, TERMS, same_matching
from parity.errors import CheckError
from parity.files import ParityFile
from parity.findings import Finding, differs, within

RULE = (
    "abs(yours - stored) <= 1e-4 * max(1, abs(stored)) for losses; gradients max abs error <= 1e-4 * absmax; "
    "assignments equal"
)
_RELATIVE = 1e-4
_ENCODER = "enc"


@dataclass(frozen=True)
class _Kind:
    """`suffix` is that of the encoder's terms; `nameless`: its objects are all of class 0."""

    suffix: str
    nameless: bool
    giou_eps: float


_KINDS = {
    "deformable detr set loss": _Kind("_enc", nameless=True, giou_eps=0.0),
    "dino set loss": _Kind("_interm", nameless=False, giou_eps=1e-6),
}


class _Matcher(BaseModel):
    model_config = ConfigDict(extra="forbid")
    cost_class: float
    cost_bbox: float
    cost_giou: float
    focal_alpha: float
    gamma: float


class _Focal(BaseModel):
    model_config = ConfigDict(extra="forbid")
    alpha: float
    gamma: float


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rule: str


class _Case(BaseModel):
    num_classes: int
    weights: dict[str, float]
    matching: Matching
    losses: dict[str, float]
    total: float


class _Document(BaseModel):
    format: Literal["espalier-parity-1"]
    matcher: _Matcher
    focal: _Focal
    tolerance: _Rule
    cases: Annotated[dict[str, _Case], Field(min_length=1)]


class SetLossChecker:
    """Claims both kinds."""

    def claims(self, file: ParityFile) -> bool:
        """By the kind."""
        return file.kind in _KINDS

    def check(self, file: ParityFile) -> Iterator[Finding]:
        """Case by case."""
        document = _document(file)
        seen: set[str] = set()
        for name, case in document.cases.items():
            arrays = _Arrays(file, name)
            yield from _case(_KINDS[file.kind], document, case, arrays)
            seen |= arrays.asked
        unknown = file.arrays.keys() - seen
        if unknown:
            raise CheckError(f"array {min(unknown)} is none that this family's check knows")


class _Arrays:
    """The arrays of a case; which were asked is kept."""

    def __init__(self, file: ParityFile, case: str) -> None:
        self.file, self.case = file, case
        self.asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return f"{self.case}/{key}" in self.file.arrays

    def __getitem__(self, key: str) -> Tensor:
        if key not in self:
            raise CheckError(f"{self.case}/{key} is missing")
        self.asked.add(f"{self.case}/{key}")
        return torch.from_numpy(self.file.arrays[f"{self.case}/{key}"])

    def said(self, prefix: str) -> Said:
        """A layer's answer, whose gradients are kept."""
        logits, boxes = self[f"{prefix}pred_logits"], self[f"{prefix}pred_boxes"]
        return Said(logits.clone().requires_grad_(), boxes.clone().requires_grad_())

    def objects(self, batch: int) -> list[Objects]:
        """Of each picture."""
        return [Objects(self[f"targets/{n}/labels"], self[f"targets/{n}/boxes"]) for n in range(batch)]


def _document(file: ParityFile) -> _Document:
    try:
        document = _Document.model_validate(file.document)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise CheckError("; ".join(told[:3])) from None
    if " ".join(document.tolerance.rule.split()) != RULE:
        raise CheckError(f"tolerance.rule is none that this tool knows: '{document.tolerance.rule[:60]}'")
    alphas = {document.matcher.focal_alpha, document.focal.alpha}
    if alphas != {ALPHA} or {document.matcher.gamma, document.focal.gamma} != {GAMMA}:
        raise CheckError(f"the focal loss has other numbers than {ALPHA} and {GAMMA}")
    return document


def _case(kind: _Kind, document: _Document, case: _Case, arrays: _Arrays) -> Iterator[Finding]:
    matcher, name = document.matcher, arrays.case
    costs = Costs(matcher.cost_class, matcher.cost_bbox, matcher.cost_giou)
    recorder = Recorder(Criterion(_weights(case), costs, kind.giou_eps))
    layers = _layers(arrays)
    objects = arrays.objects(layers[""].logits_BQC.shape[0])
    nameless = [Objects(torch.zeros_like(each.class_N), each.box_N4) for each in objects]
    terms: dict[str, Tensor] = {}
    for suffix, said in layers.items():
        encoder = suffix == _ENCODER
        scored = recorder(said, nameless if encoder and kind.nameless else objects)
        named = kind.suffix if encoder else suffix
        terms |= {f"{published}{named}": scored[term] for published, term in TERMS.items()}
    yield same_matching(f"{name} matching", recorder.calls[0].matches, case.matching)
    yield from _losses(name, case, terms)
    total = torch.stack([terms[term] * weight for term, weight in case.weights.items() if term in terms]).sum()
    yield within(f"{name} total", float(total.detach()), case.total, _RELATIVE * max(1.0, abs(case.total)))
    yield from _gradients(name, total, layers[""], arrays)


def _layers(arrays: _Arrays) -> Mapping[str, Said]:
    """The last layer first, auxiliary ones by their suffixes, the encoder's."""
    layers = {"": arrays.said("")}
    number = 0
    while f"aux/{number}/pred_logits" in arrays:
        layers[f"_{number}"] = arrays.said(f"aux/{number}/")
        number += 1
    if f"{_ENCODER}/pred_logits" in arrays:
        layers[_ENCODER] = arrays.said(f"{_ENCODER}/")
    return layers


def _weights(case: _Case) -> Weights:
    """The product weighs all layers alike. Raises CheckError where the file doesn't."""
    found: dict[str, set[float]] = {term: set() for term in TERMS}
    for name, weight in case.weights.items():
        base = re.sub(r"_(\d+|enc|interm)$", "", name)
        if base not in found:
            raise CheckError(f"weights.{name} is no loss that this family's check knows")
        found[base].add(weight)
    if any(len(weights) != 1 for weights in found.values()):
        raise CheckError("the layers' losses are weighed differently, which the product can't do")
    return Weights(*(next(iter(found[term])) for term in TERMS))


def _losses(name: str, case: _Case, terms: Mapping[str, Tensor]) -> Iterator[Finding]:
    for term, stored in case.losses.items():
        what = f"{name} {term}"
        if term in terms:
            yield within(what, float(terms[term].detach()), stored, _RELATIVE * max(1.0, abs(stored)))
        elif re.search(r"_dn(_\d+)?$", term):
            yield within(what, 0.0, stored, _RELATIVE)  # there are no denoising queries
        elif not LOGGED.fullmatch(term):
            yield differs(what, "ours has no such term")
    yield from (differs(f"{name} {term}", "only ours has it") for term in terms if term not in case.losses)


def _gradients(name: str, total: Tensor, said: Said, arrays: _Arrays) -> Iterator[Finding]:
    given = {"pred_logits": said.logits_BQC, "pred_boxes": said.box_BQ4}
    got = torch.autograd.grad(total, list(given.values()), allow_unused=True)
    for (key, value), gradient in zip(given.items(), got, strict=True):
        stored = arrays[f"grad/{key}"].numpy()
        ours = np.zeros(value.shape) if gradient is None else gradient.numpy()
        limit = _RELATIVE * max(float(np.abs(stored).max(initial=0)), 1e-8)
        yield within(f"{name} grad/{key}", ours, stored, limit)


CHECKER = SetLossChecker()
