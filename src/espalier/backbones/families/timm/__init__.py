"""Every encoder of the timm library, as `timm/NAME`; a bare name works where no family of the house has it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from espalier.backbones.converted import ConvertedTensors
from espalier.backbones.facts import BackboneFacts
from espalier.backbones.family import Out
from espalier.backbones.weights.records import WeightRecord
from espalier.errors import MissingExtraError

if TYPE_CHECKING:
    from torch import Tensor

    from espalier.backbones.backbone import Backbone


class TimmFamily:
    """timm's models. All but the name of the family needs timm, which is imported when first asked."""

    name = "timm"

    def names(self) -> Sequence[str]:
        """`timm/NAME` of every model."""
        names: list[str] = _model("names")()
        return names

    def canonical(self, name: str) -> str | None:
        """`timm/NAME`, with the tag of the weights where one is asked for. Raises InputError for an unknown tag."""
        canonical: str | None = _model("canonical")(name)
        return canonical

    def facts(self, name: str) -> BackboneFacts:
        """Found without allocating the encoder; a tag gives the input of that tag's weights."""
        facts: BackboneFacts = _model("facts")(name)
        return facts

    def build(
        self, name: str, *, channels_in: int, out: Out, size_hw: tuple[int, int] | None, dilated: bool = False
    ) -> Backbone:
        """A fresh encoder. Raises InputError where the last stage can't be dilated and should be."""
        built: Backbone = _module("build").build(
            name, channels_in=channels_in, out=out, size_hw=size_hw, dilated=dilated
        )
        return built

    def convert(self, tensors: Mapping[str, Tensor], name: str) -> ConvertedTensors:
        """A file's tensors under timm's names: by name, else by order when all shapes agree."""
        converted: ConvertedTensors = _module("convert").convert(tensors, name)
        return converted

    def published(self, name: str) -> Sequence[WeightRecord]:
        """timm's own record of the tag, the encoder's first tag where the name has none."""
        found: Sequence[WeightRecord] = _module("published").records(name)
        return found


def _model(attribute: str) -> Any:
    return getattr(_module("model"), attribute)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", "building a backbone") from error


FAMILY = TimmFamily()
