"""`explain`: what in a picture made the answer, and how far each map can be trusted; over tasks, never over a name."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from espalier import storage
from espalier.actions import explain_blocks, explain_tiles, explained
from espalier.actions.explain_pictures import Chosen, chosen
from espalier.actions.explained import Measured, Panel, Side, Sight
from espalier.actions.models import OpenModel, open_model
from espalier.data.corrupted import key_of
from espalier.errors import ImageError, ModelError, Problem, UsageError
from espalier.explainer.faith import faith
from espalier.explainer.kinds import FITS_ALL, KINDS, Options, make
from espalier.explainer.rise import random_map
from espalier.explainer.view import View
from espalier.runs.progress import Progress
from espalier.runs.report import write_report
from espalier.runs.run import Run
from espalier.spec.sections import Spec
from espalier.spec.verbs import ExplainSpec
from espalier.tasks import places
from espalier.tasks.base import ExplainTarget, ImageQuery
from espalier.vision.corruptions import Corruption, parse
from espalier.vision.corruptions.queries import corrupt_placed
from espalier.vision.tiling import Tile

if TYPE_CHECKING:
    from torch import nn

    from espalier.explainer.layers import Layer


@dataclass(frozen=True)
class Explained:
    """A model by its letter, what of it can be looked into (nothing of a bundle), and the kinds of maps it gets."""

    letter: str
    model: OpenModel
    module: nn.Module | None
    kinds: tuple[str, ...]


def explain(spec: Spec, run: Run) -> dict[str, Any]:
    """How far each kind of map can be trusted, and where the maps are; with `explain.layers` the layers there are.

    Raises UsageError for a target or layer that there is none of, ModelError for a kind of map that does not suit the
    model and where there is no map at all, ImageError after all other pictures were explained.
    """
    asked = spec.explain
    models = _opened(asked, spec.licences)
    for line in _idle(asked):
        run.warn(line)
    if asked.layers:
        return _listed(models[0])
    corruption = None if asked.corruption is None else parse(asked.corruption, where="explain.corruption")
    explaining = [_explained(chr(ord("A") + n), model, asked) for n, model in enumerate(models)]
    pictures = chosen(spec, models[0], run)
    for one in explaining:
        kinds = ", ".join(KINDS[kind].title for kind in one.kinds)
        run.say(f"{one.letter}: {one.model.name} ({one.model.kind}, {one.model.backend.name}): {kinds}")
    run.say(f"explaining {len(pictures)} pictures")
    panels, unread = _all(pictures, explaining, corruption, spec, run)
    result = _finished(panels, asked, run, seed=spec.seed)
    if unread:
        raise ImageError(*unread[:20])
    return result


def _all(
    pictures: Sequence[Chosen], models: Sequence[Explained], corruption: Corruption | None, spec: Spec, run: Run
) -> tuple[list[Panel], list[Problem]]:
    """The maps of all pictures, and what could not be read. Raises UsageError where nothing can be explained."""
    panels: list[Panel] = []
    unread: list[Problem] = []
    unsaid: dict[Problem, str] = {}  # what can't be explained, and the first picture of which that is so
    progress = Progress(run, "explanations", len(pictures), "pictures")
    for number, picture in enumerate(pictures):
        try:
            panels += _picture(number, picture, models, corruption, spec, run)
        except ImageError as error:
            unread.extend(error.problems)
        except UsageError as error:
            unsaid |= {problem: picture.name for problem in error.problems if problem not in unsaid}
        progress.tick()
    if not panels and unsaid:
        raise UsageError(*unsaid)
    if not panels and not unread:
        raise ModelError(Problem("", "no map could be made", fix="take another layer or kind of map; see the warnings"))
    for problem, name in unsaid.items():
        run.warn(f"{name}: {problem.what}; such pictures are left out")
    return panels, unread


def _opened(asked: ExplainSpec, licences: str) -> list[OpenModel]:
    if not asked.models:
        raise UsageError(Problem("explain.models", "no model was named", fix="espalier explain MODEL IMAGES"))
    models = [open_model(path, device=asked.device, backend=asked.backend, licences=licences) for path in asked.models]
    for other in models[1:]:
        if other.task.name != models[0].task.name:
            what = f"does {other.task.name}, and {models[0].path} does {models[0].task.name}"
            raise ModelError(Problem(str(other.path), what, fix="explain models of one task side by side"))
        if other.tiling != models[0].tiling:
            what = f"cuts large pictures into other tiles than {models[0].path}"
            raise ModelError(Problem(str(other.path), what, fix="explain models with the same tiles side by side"))
    return models


def _idle(asked: ExplainSpec) -> Iterator[str]:
    """What was asked for and does nothing, and why."""
    default, maps = ExplainSpec(), set(asked.maps)
    if asked.layers and len(asked.models) > 1:
        yield "explain.layers: those of the first model are listed, and of no other"
    if asked.images and asked.pictures != default.pictures:
        yield "explain.pictures: no effect, the pictures are named"
    if asked.layer and maps and not maps & {"gradcam", "features"}:
        yield "explain.layer: no effect, neither gradcam nor features is among explain.maps"
    if maps and "rise" not in maps and asked.masks != default.masks:
        yield "explain.masks: no effect, rise is not among explain.maps"


def _explained(letter: str, model: OpenModel, asked: ExplainSpec) -> Explained:
    """The model with the kinds that were asked for, else with all that suit it; wrong wishes are told at once."""
    module = _module(model)
    if module is None:
        inside = [kind for kind in asked.maps if KINDS[kind].of_module]
        if inside or asked.layer:
            raise _nothing_inside(model, f"maps of the kind {inside[0]}" if inside else "maps of a layer")
        return Explained(letter, model, None, asked.maps or FITS_ALL)
    blank = _blank(model)
    if asked.layer is not None:
        from espalier.explainer import layers

        layers.chosen(_layers(blank, module), asked.layer)
    why_not = _no_rollout(model, blank, module, asked) if "rollout" in asked.maps or not asked.maps else None
    if why_not is not None and asked.maps:
        raise why_not
    auto = ("gradcam", "rise", *(["features"] if asked.layer else []), *([] if why_not else ["rollout"]))
    return Explained(letter, model, module, asked.maps or auto)


def _no_rollout(model: OpenModel, blank: View, module: nn.Module, asked: ExplainSpec) -> ModelError | None:
    """Why the model's attention can't be rolled out, or None. Where the model says nothing of an empty picture, which
    can't be told yet, it is tried only for those who asked for it."""
    try:
        targets = model.task.explain_targets(blank.answer, (), model.classes)
        make("rollout", blank, module, targets, _options(asked, 0))
    except ModelError as error:
        return error
    except UsageError:
        return None if asked.maps else ModelError("nobody asked for attention roll-out")
    return None


def _module(model: OpenModel) -> nn.Module | None:
    """What the model's backend runs, where that can be looked into."""
    if model.kind == "bundle":
        return None
    from espalier.layers.module_backend import ModuleBackend

    backend = model.backend
    assert isinstance(backend, ModuleBackend)
    return backend.model


def _nothing_inside(model: OpenModel, what: str) -> ModelError:
    return ModelError(
        Problem(
            str(model.path),
            f"is a bundle, which holds no PyTorch weights: there are no {what}",
            f"what suits a bundle: explain.maps={','.join(FITS_ALL)}",
            "give the run or the checkpoint that it was exported from",
        )
    )


def _blank(model: OpenModel) -> View:
    """An empty picture before the model: enough to see what it is made of."""
    part = model.prepare.inputs[0]
    size_hw = part.size_hw if any((part.resize, part.crop, part.pad)) else (224, 224)
    return View(model.predictor(), ImageQuery(explained.empty(size_hw, part.bands), "blank"))


def _layers(view: View, module: nn.Module) -> list[Layer]:
    import torch

    from espalier.explainer.kinds import tensors
    from espalier.explainer.layers import record

    with torch.no_grad():
        return record(module, tensors(view, module), view.geometry.input_hw).layers


def _listed(model: OpenModel) -> dict[str, Any]:
    module = _module(model)
    if module is None:
        raise _nothing_inside(model, "layers to list")
    found = [layer for layer in _layers(_blank(model), module) if layer.layout is not None]
    width = max((len(layer.name) for layer in found), default=0)
    return {"model": str(model.path), "layers": [f"{layer.name:<{width}}  {layer.words}" for layer in found]}


def _options(asked: ExplainSpec, seed: int) -> Options:
    return Options(masks=asked.masks, cells=asked.cells, layer=asked.layer, seed=seed)


@dataclass(frozen=True)
class _Look:
    """A model before a picture, as it is or corrupted, and what is to be explained of what it says."""

    one: Explained
    side: Side
    view: View
    targets: Sequence[ExplainTarget]


def _picture(
    number: int, picture: Chosen, models: Sequence[Explained], corruption: Corruption | None, spec: Spec, run: Run
) -> list[Panel]:
    """The maps of one picture by every model, as it is and corrupted: all of what the first model says of it clean.

    Raises UsageError where there is nothing to explain, before anything is written.
    """
    panels: list[Panel] = []
    tile = explain_tiles.tile_of(picture, models[0].model, spec)
    if tile is not None:
        picture = replace(picture, note="; ".join(filter(None, [picture.note, tile.words])))
        run.say(f"{picture.name}: what is asked for is said most strongly in {tile.words}, which is explained")
    for look in _looks(picture, models, corruption, spec, tile, run):
        answer = explained.answer_picture(run, number, look.side, look.one.model, look.view)
        sight = Sight(number, picture, look.side, look.view, answer)
        files = explained.file_names([target.asked for target in look.targets])
        for file, (target, measured) in zip(files, _measured(look.one, sight, look.targets, spec), strict=True):
            panels += explained.panels(run, sight, target, file, measured, spec.explain.formats)
            for words in measured.unmade:
                run.warn(f"{picture.name} ({look.side.letter}, {look.side.condition}): {target.words}: {words}")
    for panel in panels:
        run.say(panel.line)
    return panels


def _looks(
    picture: Chosen, models: Sequence[Explained], corruption: Corruption | None, spec: Spec, tile: Tile | None, run: Run
) -> list[_Look]:
    """Every model before the clean picture, then before the corrupted one; one that says nothing of it is left out.

    What is explained is what the words name in the first model's answer; of the others' answers the same part.
    """
    words = spec.explain.targets if tile is None else places.inside(spec.explain.targets, tile.window)
    looks: list[_Look] = []
    clean: dict[str, Sequence[ExplainTarget]] = {}  # by the model's letter
    for changed in (None, *([corruption] if corruption else [])):
        for one in models:
            view = _view(picture, one.model, changed, spec, tile)
            side = Side(one.letter, one.model.name, "" if changed is None else str(changed))
            if not clean:
                clean[one.letter] = _targets(one.model, side, view, words, several=len(models) > 1)
                looks.append(_Look(one, side, view, clean[one.letter]))
                continue
            wanted = clean.get(one.letter, clean[models[0].letter])
            targets, unmatched = _same(one.model, side, view, wanted, lost=changed is not None)
            for line in unmatched:
                run.warn(f"{picture.name}: {line}")
            clean.setdefault(one.letter, targets)
            if targets:
                looks.append(_Look(one, side, view, targets))
    return looks


def _targets(model: OpenModel, side: Side, view: View, words: Sequence[str], *, several: bool) -> list[ExplainTarget]:
    """What the words name in this side's answer, each once.

    Raises UsageError for what the model does not say; of several sides it names this one.
    """
    try:
        found = model.task.explain_targets(view.answer, words, model.classes)
    except UsageError as error:
        raise (_of_side(side, error) if several else error) from error
    return list({target.asked: target for target in found}.values())


def _same(
    model: OpenModel, side: Side, view: View, wanted: Sequence[ExplainTarget], *, lost: bool
) -> tuple[list[ExplainTarget], list[str]]:
    """(the same parts of this side's answer, a line for each that it has none for).

    With `lost` what the corruption lost is the clean picture's target. Raises UsageError for a word that this model
    does not know, where words alone tell what is the same.
    """
    found: list[ExplainTarget] = []
    unmatched: list[str] = []
    for target in wanted:
        try:
            (own,) = model.task.explain_targets(view.answer, (target.same or target.asked,), model.classes)
        except UsageError as error:
            if lost:
                found.append(replace(target, words=f"{target.words} of the clean picture"))
                continue
            if not target.same:
                raise _of_side(side, error) from error
            unmatched.append(f"{target.words} has no match in {side.letter} ({side.model}): {error.problems[0].what}")
            continue
        found.append(replace(own, asked=target.asked, same=target.same))
    return found, unmatched


def _of_side(side: Side, error: UsageError) -> UsageError:
    of = f"of {side.letter}, {side.condition} ({side.model}): "
    return UsageError(*(replace(problem, what=of + problem.what) for problem in error.problems))


def _view(picture: Chosen, model: OpenModel, changed: Corruption | None, spec: Spec, tile: Tile | None) -> View:
    """The picture or its tile before the model; corrupted in the network's pixels, as `evaluate --corruptions` does."""
    query = picture.read(model.channels, spec.data.max_pixels)
    query = query if tile is None else replace(query, image_HWC=tile.window.of(query.image_HWC))
    placed = None
    if changed is not None:
        clean = replace(model.prepare.placed(query), tile=tile)
        key = key_of(query.name, clean)
        placed = corrupt_placed(clean, model.prepare, changed, seed=spec.seed, key=key)
    return View(model.predictor(batch_size=spec.explain.batch_size), query, placed)


def _measured(
    one: Explained, sight: Sight, targets: Sequence[ExplainTarget], spec: Spec
) -> Iterator[tuple[ExplainTarget, Measured]]:
    """For each target its map of each kind that it has, and how far that can be trusted beside maps that know nothing.

    A target without any is measured by nothing.
    """
    asked, view = spec.explain, sight.view
    made, seconds = [], []
    for kind in one.kinds:
        start = time.perf_counter()
        made.append(make(kind, view, one.module, targets, _options(asked, spec.seed)))
        seconds.append((time.perf_counter() - start) / len(targets))
    seeds = [(spec.seed, sight.number, n) for n in range(asked.random_maps)]
    blind = [random_map(view.size_hw, cells=asked.cells, seed=seed) for seed in seeds]
    for place, target in enumerate(targets):
        found = list(zip(one.kinds, (of_kind[place] for of_kind in made), seconds, strict=True))
        heats = [(heat, each) for _, heat, each in found if not isinstance(heat, Problem)]
        unmade = [f"no {KINDS[kind].title}: {why.what}" for kind, why, _ in found if isinstance(why, Problem)]
        maps = [*(heat.map_HW for heat, _ in heats), *blind] if heats else []
        faiths = faith(view, target, maps, steps=asked.steps, seed=spec.seed) if maps else []
        shown, took = [heat for heat, _ in heats], [each for _, each in heats]
        yield target, Measured(shown, took, faiths[: len(heats)], faiths[len(heats) :], unmade)


def _finished(panels: Sequence[Panel], asked: ExplainSpec, run: Run, *, seed: int) -> dict[str, Any]:
    storage.write_json(run.path / "explanations.json", [panel.to_json() for panel in panels])
    for section, block in explain_blocks.blocks(panels, asked, seed=seed):
        run.block(section, block)
    path = write_report(run.path)
    run.say(f"report: {path}")
    files = ["explanations.json", *(["maps/"] if "pictures" in asked.formats else []),
             *(["arrays/"] if "arrays" in asked.formats else []), "report.html"]  # fmt: skip
    return {"pictures": len({panel.number for panel in panels}), "maps": len(panels),
            "better_than_random_by": explain_blocks.gains_json(panels, seed=seed), "files": files}  # fmt: skip
