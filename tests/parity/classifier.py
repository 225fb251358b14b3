"""A published image classifier of one of the house's families, as the product builds and fills it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.backbones.family import HouseFamily
from espalier.networks.classifier.model import Classifier
from espalier.networks.classifier.spec import ClassifierSpec
from espalier.spec.sections import BackboneSpec, InputSpec
from parity.documents import NetworkDocument
from parity.errors import CheckError
from parity.files import ParityFile
from parity.findings import Finding
from parity.network_check import check_network
from parity.subject import Feature, Filled, Subject, View

# Arguments of the published constructors that change nothing in eval mode, or that the shapes and the input show.
_WITHOUT_EFFECT = {
    "pretrained",
    "drop_rate",
    "drop_path_rate",
    "attn_drop_rate",
    "img_size",
    "resolution",
    "window_size",
}
_CLASSES = 1000  # where neither the constructor nor the file's own head says another number
_HEAD = "head.bias"


@dataclass(frozen=True)
class FeatureRule:
    """An official module by pattern; ours, with the pattern's groups in it; and how ours takes the official layout."""

    pattern: str
    ours: str
    view: View


@dataclass(frozen=True)
class ClassifierFamily:
    """What a family must say of itself; the rest is alike in all."""

    family: HouseFamily
    prefix: str  # of the published constructors
    official_name: Callable[[str], str]  # of one of the encoder's tensors
    features: Sequence[FeatureRule]
    derived: Callable[[Classifier], Mapping[str, tuple[int, ...]]] = lambda _: {}
    noise: Sequence[re.Pattern[str]] = ()

    def claims(self, file: ParityFile) -> bool:
        """By the constructor's function, whatever its size."""
        return str(file.constructor.get("function", "")).startswith(self.prefix)

    def check(self, file: ParityFile) -> Iterator[Finding]:
        """Every comparison that the file asks."""
        return check_network(file, self.subject)

    def subject(self, document: NetworkDocument) -> Subject:
        """The classifier that the document asks."""
        return PublishedClassifier(self, document)

    def encoder(self, document: NetworkDocument) -> str:
        """Our encoder of the constructor's size. Raises CheckError when there is none."""
        function, arguments = document.constructor.get("function", ""), document.constructor.get("args", {})
        name = self._sized(function, arguments.get("resolution"))
        unknown = arguments.keys() - _WITHOUT_EFFECT - {"num_classes", "in_chans"}
        if unknown:
            raise CheckError(f"constructor.args.{min(unknown)} is none that {self.family.name}'s check knows")
        return name

    def _sized(self, function: str, resolution: int | None) -> str:
        """A function that is built for another resolution than its own is the size that has the number in its name."""
        name = self.family.canonical(function)
        if name is not None and resolution not in (None, self.family.facts(name).size_hw[0]):
            function = f"{function}_{resolution}"
            name = self.family.canonical(function)
        if name is None:
            raise CheckError(f"{self.family.name} has no size '{function}': it has {', '.join(self.family.names())}")
        return name


class PublishedClassifier:
    """The product's classifier on one of the family's encoders."""

    def __init__(self, of: ClassifierFamily, document: NetworkDocument) -> None:
        self.of = of
        self.encoder = of.encoder(document)
        arguments = document.constructor.get("args", {})
        self.module = _classifier(
            self.encoder,
            classes=arguments.get("num_classes", _classes(document)),
            bands=arguments.get("in_chans", 3),
            size_hw=document.input.shape[2:],
        )
        self.official = {own: self._official(own) for own in self.module.state_dict()}
        self.derived = of.derived(self.module)
        self.noise = of.noise

    def load(self, filled: Filled) -> None:
        """By the family's converter: what is checked is that a published file gives the published outputs."""
        tensors = {name: torch.from_numpy(values) for name, values in filled.items()}
        converted = self.of.family.convert(tensors, self.encoder)
        self.module.backbone.adopt(converted.encoder)
        if not self.module.adopt_head(converted.head):
            raise CheckError("the converter left no head that the classifier takes")

    def outputs(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        """The logits."""
        return {"logits": self.module(image_BCHW)["logits"]}

    def feature(self, name: str) -> Feature:
        """By the first of the family's rules that knows the official module."""
        for rule in self.of.features:
            match = re.fullmatch(rule.pattern, name)
            if match:
                return Feature(f"backbone.{match.expand(rule.ours)}", rule.view)
        raise CheckError(f"{self.of.family.name}'s check knows no feature '{name}'")

    def _official(self, own: str) -> str:
        head = self.module.head_prefixes()[0]
        if own.startswith(head):
            return f"head.{own.removeprefix(head)}"
        return self.of.official_name(own.removeprefix("backbone."))


def _classes(document: NetworkDocument) -> int:
    """Of the published head: constructors for larger sets of pictures have more without an argument that says so."""
    return next((entry.shape[0] for entry in document.state_dict if entry.name == _HEAD and entry.shape), _CLASSES)


def _classifier(encoder: str, *, classes: int, bands: int, size_hw: tuple[int, int]) -> Classifier:
    given = InputSpec(size_hw=size_hw, channels="bands", bands=bands)
    spec = ClassifierSpec(backbone=BackboneSpec(name=encoder, weights="none"), input=given)
    return Classifier(spec, [f"class {n}" for n in range(classes)])
