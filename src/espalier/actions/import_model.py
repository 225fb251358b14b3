"""A published network's file as a model of ours: what `weights import --out` does for the file of a whole network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier.actions.model_info import ModelInfo
from espalier.actions.models import lookup
from espalier.backbones import describe
from espalier.backbones.weights.records import NOT_STATED, is_commercial
from espalier.bundle.manifest import Licence
from espalier.commands import Reply
from espalier.errors import ModelError, Problem
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.networks.card import Network
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve

if TYPE_CHECKING:
    from torch import Tensor

    from espalier.networks.published_model import Published, Reader


@dataclass(frozen=True)
class PublishedFile:
    """A file that holds a whole network, and whose it is."""

    path: Path
    card: Network
    family: Reader
    tensors: Mapping[str, Tensor]
    arguments: Mapping[str, Any]


def published_file(file: str) -> PublishedFile | None:
    """The file's network by the names of its tensors; None for an encoder's or a classifier's file, and an address.

    Raises ModelError for a file that can't be opened.
    """
    from espalier.backbones.weights.foreign import read_foreign

    path = Path(file)
    if not path.is_file():
        return None
    foreign = read_foreign(path)
    for card in map(registry.get, registry.names()):
        family: Reader | None = None if card.official is None else cards.load(card.official)
        if family is not None and family.code(foreign.tensors) is not None:
            return PublishedFile(path, card, family, foreign.tensors, foreign.arguments)
    return None


def import_model(
    file: PublishedFile,
    folder: Path,
    *,
    name: str,
    backbone: str | None = None,
    licence: str | None = None,
    named: Sequence[str] | None = None,
) -> Reply:
    """Writes the checkpoint, with the published data set's classes unless `named`.

    Raises ModelError where tensors lack or do not fit.
    """
    from espalier.trainer.checkpoint import TrainerState, save_checkpoint

    try:
        read = file.family.read(file.tensors, file.arguments, backbone=backbone)
    except ModelError as error:
        raise ModelError(*(_at(problem, file.path) for problem in error.problems)) from None
    if named is not None:
        if len(named) != len(read.classes):
            what = f"{len(named)} names for {len(read.classes)} classes"
            raise ModelError(Problem("--classes", what, fix="give one a line, in the order of the rows"))
        read = replace(read, classes=tuple(named))
    asked = load_spec(_values(file, read), lookup=lookup)
    facts = describe(str(read.network["backbone"]["name"]))
    spec, _ = resolve(asked, Facts(classes=tuple(read.classes), backbone=facts))
    assert spec.network is not None
    model: Any = cards.build(file.card, spec.network, read.classes)
    model.load_state_dict(dict(read.tensors), strict=False)  # counters of batch norms may lack; the rest was compared
    said = licence or NOT_STATED
    licences = [Licence(name=name, licence=said, commercial=is_commercial(said) if licence else None)]
    info = ModelInfo.of(file.card, spec, read.classes, licences=licences, run=name)
    save_checkpoint(folder, model.state_dict(), TrainerState({}, {}), info.to_json())
    return Reply(tuple(_lines(file, read, folder)), {"model": str(folder), "classes": len(read.classes)})


def _values(file: PublishedFile, read: Published) -> dict[str, Any]:
    """The network with the input that it was published with: that of the preset which says so."""
    preset = file.card.presets[read.preset]["network"]
    network = {**read.network, "name": file.card.name, "input": preset["input"]}
    return {"network": network, "data": {"classes": list(read.classes)}}


def _lines(file: PublishedFile, read: Published, folder: Path) -> list[str]:
    unused = sum(name.startswith("unused_") for name in read.classes)
    rows = f" ({unused} of them are rows that COCO's category ids leave unused)" if unused else ""
    lines = [
        f"{file.path.name}: {file.card.name} on {read.network['backbone']['name']}, names of the {read.code} code, "
        f"{len(read.tensors)} tensors, {len(read.classes)} classes{rows}",
    ]
    if read.left:
        more = f" and {len(read.left) - 3} more" if len(read.left) > 3 else ""
        lines.append(f"left out, since {file.card.name} has no such tensors: {', '.join(read.left[:3])}{more}")
    lines.append(f"a model in {folder}: espalier evaluate {folder} PICTURES, or train.start_from={folder}")
    return lines


def _at(problem: Problem, path: Path) -> Problem:
    return Problem(str(path), problem.what, problem.expected, problem.fix)
