"""What a checkpoint says of its model beside the weights: the part of checkpoint.json that `train` hands the trainer.

Written by `ModelInfo.to_json`, read by `ModelInfo.from_json`: the one place that knows these keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from espalier.bundle.manifest import Decode, Licence
from espalier.errors import ModelError, Problem
from espalier.networks.card import Network
from espalier.networks.input import tiling
from espalier.spec.load import values_of
from espalier.spec.sections import Spec


class ModelInfo(BaseModel):
    """All that is needed to build, run and describe a network again; other keys of checkpoint.json are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    network: str
    task: str
    classes: tuple[str, ...]
    spec: dict[str, JsonValue]
    prepare: dict[str, JsonValue]
    decode: Decode
    tiles: dict[str, JsonValue] | None = None  # how large pictures are cut; None: they are asked whole
    licences: tuple[Licence, ...] = ()
    data_fingerprint: str = ""
    run: str = ""
    trained_on_all: bool = False  # every labelled picture was learnt from, so none of them can score the model
    figures: dict[str, JsonValue] = {}
    epoch: int | None = None

    @classmethod
    def of(
        cls,
        card: Network,
        spec: Spec,
        classes: Sequence[str],
        *,
        licences: Sequence[Licence] = (),
        data_fingerprint: str = "",
        run: str = "",
    ) -> ModelInfo:
        """The info of a network of this card, built by the resolved `spec` for `classes`. `run` is the run's name."""
        if spec.network is None:
            raise ModelError("a spec without a network makes no model")
        rule = card.decode(spec.network)
        return cls(
            network=card.name,
            task=card.task_of(spec.network),
            classes=tuple(classes),
            spec=values_of(spec),
            prepare=card.prepare(spec.network).to_json(),
            tiles=None if (tiles := tiling(spec.network.input)) is None else tiles.to_json(),
            decode=Decode(name=rule.name, version=rule.version, params=dict(rule.params)),
            licences=tuple(licences),
            data_fingerprint=data_fingerprint,
            run=run,
        )

    def to_json(self) -> dict[str, Any]:
        """The `meta` that the trainer writes into checkpoint.json; epoch, step and figures are the trainer's own."""
        return self.model_dump(mode="json", exclude={"figures", "epoch"})

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], where: str) -> ModelInfo:
        """The info in checkpoint.json. Raises ModelError with everything that is missing or wrong."""
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)[:20]
            problems = [Problem(f"{where}: {'.'.join(map(str, e['loc']))}", e["msg"]) for e in found]
            raise ModelError(*problems) from None
