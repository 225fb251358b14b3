"""Which part of a large picture is explained: models that cut pictures see a tile at a time."""

from __future__ import annotations

from espalier.actions.explain_pictures import Chosen
from espalier.actions.models import OpenModel
from espalier.errors import UsageError
from espalier.explainer.view import View
from espalier.spec.sections import Spec
from espalier.tasks import places
from espalier.vision.tiling import Tile


def tile_of(picture: Chosen, model: OpenModel, spec: Spec) -> Tile | None:
    """The tile in which what is asked for (without words the answer itself) is said most strongly; None where the
    model sees the whole picture at once.

    Raises UsageError where no tile has it, ImageError for a picture that can't be read.
    """
    if model.tiling is None:
        return None
    parts = list(model.tiling.cut(picture.read(model.channels, spec.data.max_pixels)))
    if len(parts) == 1:
        return None
    predictor = model.predictor(batch_size=spec.explain.batch_size)
    found: list[tuple[float, Tile]] = []
    unsaid: UsageError | None = None
    for tile, part in parts:
        answer = View(predictor, part).answer
        try:
            words = places.inside(spec.explain.targets, tile.window)
            targets = model.task.explain_targets(answer, words, model.classes)
        except UsageError as error:
            unsaid = unsaid or error
            continue
        found.append((max(float(t.scores(answer.outputs, [answer.prediction]).max()) for t in targets), tile))
    if not found and unsaid is not None:
        raise unsaid
    return max(found, key=lambda each: each[0])[1]
