"""`espalier weights import`: a weight file into the cache, and with `--out` a checkpoint that is a model by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier.actions.import_model import PublishedFile, import_model, published_file
from espalier.actions.model_info import ModelInfo
from espalier.actions.models import lookup
from espalier.actions.recipe import licences_of
from espalier.backbones import describe
from espalier.backbones.start import AdoptsHead, Start
from espalier.backbones.weights import keep
from espalier.backbones.weights.cache import WeightFile
from espalier.backbones.weights.commands import kept_reply
from espalier.backbones.weights.imagenet import class_names as imagenet_names
from espalier.commands import Reply
from espalier.errors import ModelError, Problem, RunExistsError, UsageError
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve

if TYPE_CHECKING:
    from torch import Tensor

TASK = "classification"


def import_weights(
    *,
    file: str,
    as_: str,
    backbone: str | None = None,
    licence: str | None = None,
    out: str | None = None,
    classes: str | None = None,
) -> Reply:
    """Imports a file. Raises ModelError, UsageError, and RunExistsError where `out` is not empty."""
    if classes is not None and out is None:
        raise UsageError(Problem("--classes", "names the classes of a model, and none is written", fix="add --out DIR"))
    if out is not None and Path(out).is_dir() and any(Path(out).iterdir()):
        raise RunExistsError(Problem(out, "is there already and not empty", fix="choose another --out"))
    named = None if classes is None else _read_names(Path(classes))
    whole = published_file(file)
    if whole is not None:
        return import_model(whole, _folder_for(whole, out), name=as_, backbone=backbone, licence=licence, named=named)
    lines: list[str] = []
    kept = keep.import_file(file, as_, backbone=backbone, licence=licence, say=lines.append)
    reply = kept_reply(kept, lines)
    if out is None:
        return reply
    count = write_model(kept, Path(out), named)
    said = f"a model of {count} classes in {out}: espalier evaluate {out} PHOTOS"
    return Reply((*reply.lines, said), {**reply.data, "model": out, "classes": count})


def _folder_for(whole: PublishedFile, out: str | None) -> Path:
    if out is None:
        what = f"{whole.path.name} is a whole {whole.card.name}, and the cache holds encoders"
        raise UsageError(Problem("--out", what, fix="add --out DIR, which makes it a model"))
    return Path(out)


def write_model(kept: WeightFile, folder: Path, named: Sequence[str] | None = None) -> int:
    """Writes the encoder with its published classifier as a checkpoint; the number of its classes.

    Without `named` a classifier of 1000 classes has ImageNet-1k's, in order, and any other class_0, class_1, …
    Raises ModelError for weights without a classifier, or with another number of classes than there are names.
    """
    from espalier.backbones.conversion import converted
    from espalier.backbones.weights.foreign import read_safetensors
    from espalier.trainer.checkpoint import TrainerState, save_checkpoint

    start = Start.of(kept)
    mapped = converted(read_safetensors(kept.path), kept.record.backbone, where=str(kept.path), name_it="--backbone ")
    classes = _class_names(_classes(mapped.head, kept), named)
    card = next(card for card in registry.for_task(TASK) if card.fit_presets)
    network = {"name": card.name, "backbone": {"name": kept.record.backbone, "weights": kept.record.name}}
    asked = load_spec({"network": network, "data": {"classes": classes}}, lookup=lookup)
    spec, _ = resolve(asked, Facts(classes=classes, backbone=start.facts, multi_label=False))
    assert spec.network is not None
    model: Any = cards.build(card, spec.network, classes)
    model.backbone.adopt(mapped.encoder)
    if not (model.adopt_head(mapped.head) if isinstance(model, AdoptsHead) else ()):
        raise ModelError(_no_head(kept))
    info = ModelInfo.of(card, spec, classes, licences=licences_of(start), run=kept.record.name)
    save_checkpoint(folder, model.state_dict(), TrainerState({}, {}), info.to_json())
    return len(classes)


def _classes(head: Mapping[str, Tensor], kept: WeightFile) -> int:
    """The classes of the published classifier: the rows of its only matrix over the encoder's vector."""
    width = describe(kept.record.backbone).embedding
    rows = [tensor.shape[0] for tensor in head.values() if tensor.ndim == 2 and tensor.shape[1] == width]
    if len(rows) != 1:
        raise ModelError(_no_head(kept))
    return int(rows[0])


def _no_head(kept: WeightFile) -> Problem:
    what = f"{kept.record.name} has no classifier over {kept.record.backbone}, so it is no model by itself"
    fix = f"train one from it: network.backbone.name={kept.record.backbone} network.backbone.weights={kept.record.name}"
    return Problem("--out", what, fix=fix)


def _class_names(count: int, named: Sequence[str] | None) -> tuple[str, ...]:
    if named is None:
        known = imagenet_names() if count == 1000 else ()
        return known or tuple(f"class_{number}" for number in range(count))
    if len(named) != count:
        raise ModelError(
            Problem("--classes", f"{len(named)} names for {count} classes", fix="give one a line, in order")
        )
    return tuple(named)


def _read_names(file: Path) -> tuple[str, ...]:
    """The lines of a text file. Raises UsageError for what is none, or names a class twice."""
    try:
        names = [line.strip() for line in file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(Problem(f"--classes {file}", f"can't be read: {error}")) from error
    while names and not names[-1]:
        names.pop()
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or "" in names or twice:
        what = f"a class is named twice: {', '.join(twice[:5])}" if twice and twice != [""] else "a line names no class"
        raise UsageError(Problem(f"--classes {file}", what, fix="give a name of its own to each class, one a line"))
    return tuple(names)
