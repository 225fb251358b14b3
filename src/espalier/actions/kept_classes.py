"""`train.keep_classes`: the classes of the model that training starts from stay, and those of the data join them."""

from __future__ import annotations

from espalier.actions.models import lookup, open_model
from espalier.data.formats import read_splits
from espalier.runs.run import Run
from espalier.spec.load import updated
from espalier.spec.resolve import Decision
from espalier.spec.sections import Spec


def with_kept_classes(spec: Spec, run: Run, *, pictures: str | None) -> Spec:
    """The spec with the old classes first, each at its place, and the new ones of `pictures` after them.

    The pictures were not labelled for old classes that they don't have, so that these are not unlearnt on them.
    Nothing changes where the spec names the classes itself. Raises DataError, ModelError, LicenceError.
    """
    data, train = spec.data, spec.train
    if not train.keep_classes or train.start_from is None or pictures is None:
        return spec
    old = open_model(train.start_from, device="cpu", backend="torch", licences=spec.licences).classes
    if data.classes != "auto":
        if data.classes[: len(old)] != old:
            run.warn(f"train.keep_classes has no effect: data.classes names others than {', '.join(old)} first")
        return spec
    splits = read_splits(pictures, format=data.format, images=data.images, group=data.group, strict=False)
    own = next(iter(splits.values())).classes
    classes = (*old, *(name for name in own if name not in old))
    values: dict[str, list[str]] = {"classes": list(classes)}
    decisions = [Decision("data.classes", "auto", ", ".join(classes), f"the {len(old)} of {train.start_from} first")]
    if data.labelled_classes is None and not set(old) <= set(own):
        values["labelled_classes"] = list(own)
        left = ", ".join(name for name in old if name not in own)
        decisions.append(
            Decision("data.labelled_classes", "null", ", ".join(own), f"{pictures} has no label of {left}")
        )
    run.decisions(decisions)
    return updated(spec, {"data": values}, lookup=lookup)
