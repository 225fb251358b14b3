"""A published detector with object queries, as the product builds, fills and runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final
from unittest import mock

import torch
from torch import Tensor

from espalier.layers.deformable_transformer import best_tokens
from espalier.layers.detr import Criterion, Encoded, Said
from espalier.layers.matching import Match, Objects
from espalier.layers.model import Batch
from espalier.networks.object_queries import ObjectQueries
from espalier.networks.published import Family
from parity import rules
from parity.detector_document import DetectorDocument
from parity.errors import CheckError
from parity.files import Array, ParityFile
from parity.subject import FEATURE, Feature, Filled

ORIGINAL: Final = "original"
_COUNTERS = "num_batches_tracked"
_FEATURES = (
    (r"input_proj\.(\d+)", r"levels.projections.\1"),
    (r"encoder\.layers\.(\d+)", r"encoder.layers.\1"),
    (r"memory", "encoder"),
    (r"decoder\.layers\.(\d+)", r"decoder.layers.\1"),
)


@dataclass(frozen=True)
class DetectorFamily:
    """What a detector must say of itself. `first` is the prefix of the outputs of the encoder's own answer."""

    name: str
    family: Family
    code: ModuleType  # of the network, whose choice of tokens is replaced by the stored one
    first: str
    function: str  # of the published constructor

    def classes(self, document: DetectorDocument) -> int:
        """Of the document, in its arguments or beside them."""
        found = document.constructor.get("num_classes", document.arguments.get("num_classes"))
        if not isinstance(found, int):
            raise CheckError("constructor.num_classes is missing")
        return found


class Detector:
    """The product's network of a document."""

    def __init__(self, of: DetectorFamily, document: DetectorDocument) -> None:
        self.of, self.document = of, document
        self.spec = of.family.spec(of.family.arguments(document.arguments))
        built = of.family.build(self.spec, [f"class {n}" for n in range(of.classes(document))])
        assert isinstance(built, ObjectQueries)
        self.module: ObjectQueries = built
        own = [name for name in built.state_dict() if not name.endswith(_COUNTERS)]
        self.official: Mapping[str, Sequence[str]] = {n: of.family.names(n, self.spec, ORIGINAL) for n in own}

    @property
    def derived(self) -> Mapping[str, tuple[int, ...]]:
        """Official tensors that ours computes itself: the index of each window's distances."""
        own = {n: tuple(b.shape) for n, b in self.module.named_buffers() if n.endswith("relative_position_index")}
        return {self.of.family.names(name, self.spec, ORIGINAL)[0]: shape for name, shape in own.items()}

    def load(self, filled: Filled) -> None:
        """By the reader of published files, which has to find the same settings."""
        tensors = {name: torch.from_numpy(values) for name, values in filled.items()}
        read = self.of.family.read(tensors, self.document.arguments)
        if self.of.family.spec(read.network) != self.spec or read.left:
            raise CheckError(f"the product reads these tensors as another network, or leaves some: {read.left[:3]}")
        self.module.load_state_dict(dict(read.tensors))

    def valid_hw(self) -> Tensor:
        """(B, 2)."""
        batch, _, height, width = self.document.input.shape
        return torch.tensor(self.document.input.valid_sizes or [(height, width)] * batch)

    def image(self) -> Tensor:
        """(B, C, H, W) in the module's precision."""
        return torch.from_numpy(rules.draw_input(self.document.input)).to(next(self.module.parameters()).dtype)

    def batch(self, file: ParityFile) -> Batch:
        """The pictures with the stored targets. Raises CheckError where one of a picture is missing."""
        pictures = range(self.document.input.shape[0])
        labels = [_array(file, f"targets/{n}/labels") for n in pictures]
        boxes = [_array(file, f"targets/{n}/boxes") for n in pictures]
        targets = {"class_N": [torch.from_numpy(x) for x in labels], "box_N4": [torch.from_numpy(x) for x in boxes]}
        return Batch({"image": self.image(), "valid_hw": self.valid_hw()}, targets)

    def feature(self, name: str) -> Feature:
        """Of an official module. Raises CheckError for one that has no counterpart."""
        for pattern, ours in _FEATURES:
            found = re.fullmatch(pattern, name.removeprefix(FEATURE))
            if found:
                return Feature(found.expand(ours), lambda gives, _shape: gives)
        raise CheckError(f"{self.of.name}'s check knows no feature '{name}'")

    def chosen(self, token_BQ: Array | None) -> AbstractContextManager[list[Tensor]]:
        """Within it the stored tokens are chosen, ours where none are stored; gives the scores of all tokens."""
        return _chosen(self.of.code, token_BQ)


@dataclass
class Call:
    """One scoring of a layer."""

    said: Said
    matches: Sequence[Match]
    terms: Mapping[str, Tensor]


@dataclass
class Recorder:
    """Stands in for the product's criterion, and keeps what it was asked and said."""

    inner: Criterion
    calls: list[Call] = field(default_factory=list)

    @property
    def weights(self) -> Any:
        """The product's."""
        return self.inner.weights

    def __call__(
        self, said: Said, objects: Sequence[Objects], matches: Sequence[Match] | None = None
    ) -> Mapping[str, Tensor]:
        """The terms by the product, with the product's own matching."""
        matches = self.matched(said, objects) if matches is None else matches
        self.calls.append(Call(said, matches, self.inner(said, objects, matches)))
        return self.calls[-1].terms

    def matched(self, said: Said, objects: Sequence[Objects]) -> list[Match]:
        """The product's matching."""
        return self.inner.matched(said, objects)

    def scored(
        self, said: Said, objects: Sequence[Objects], matches: Sequence[Match], divisor: float
    ) -> Mapping[str, Tensor]:
        """The terms for these matches."""
        self.calls.append(Call(said, matches, self.inner.scored(said, objects, matches, divisor)))
        return self.calls[-1].terms


def answers_of(module: ObjectQueries, encoded: Encoded) -> tuple[list[Said], Said | None]:
    """Typed: each decoder layer's answer, and the encoder's own."""
    return module.answers(encoded)


@contextmanager
def _chosen(code: ModuleType, token_BQ: Array | None) -> Iterator[list[Tensor]]:
    scores: list[Tensor] = []

    def choose(score_BN: Tensor, count: int) -> Tensor:
        scores.append(score_BN.detach())
        return best_tokens(score_BN, count) if token_BQ is None else torch.from_numpy(token_BQ).long()

    with mock.patch.object(code, "best_tokens", choose):
        yield scores


def _array(file: ParityFile, key: str) -> Array:
    if key not in file.arrays:
        raise CheckError(f"{key} is missing")
    return file.arrays[key]
