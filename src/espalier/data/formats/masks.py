"""Pictures and their masks: `images/a.jpg` and `masks/a.png`, whose values or colours are the classes of its pixels.

Which file is whose is `data.mask_layout`, what the values mean `data.mask_classes`. Every mask is looked at once while
the set is read, since only its pixels say which classes it shows; no mask is kept.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from espalier import storage
from espalier.data import mask_classes
from espalier.data.findings import Notes
from espalier.data.formats.base import UNSPLIT, Loss, Options, Place
from espalier.data.index import Index, assemble, with_findings
from espalier.data.lost import Lost, add_common
from espalier.data.mask_classes import MaskClasses
from espalier.data.mask_layout import Layout, layout
from espalier.data.mask_scan import SeenMask, look_at_all
from espalier.data.picture_sizes import known_sizes
from espalier.data.sidecars import bare_name, label_name, splits_of
from espalier.errors import DataError, Problem
from espalier.tasks.segmentation.prediction import BACKGROUND
from espalier.tasks.segmentation.sample import target
from espalier.vision.class_maps import ClassMap, dtype_of, ignored
from espalier.vision.draw import colour_of
from espalier.vision.mask_file import IGNORE, MaskFile

_ORDER = ("train", "val", "test")


class Masks:
    """Masks beside pictures."""

    name = "masks"
    help = "pictures in images/ and a mask for each in masks/, of the same name, whose values or colours are classes"
    holds = frozenset({"mask", "polygon", "rle"})
    refers = False
    tells_classes = False
    by_stem = True

    def detect(self, place: Place) -> int:
        """Sure where pictures and masks go together by their names; less so beside .xml files, which may be meant."""
        if not place.is_folder:
            return 0
        found = layout(place, None)
        if not found.pairs or 2 * len(found.pairs) < min(len(found.masks), len(found.pictures)):
            return 0
        return 60 if any(name.lower().endswith(".xml") for name in place.files) else 95

    def read(self, place: Place, options: Options) -> dict[str, Index]:
        """Pictures without a mask, and masks without a picture, are no part of the set, and are told."""
        if not place.is_folder:
            raise DataError(Problem(place.path, "not a folder", expected=self.help))
        found = layout(place, options.images)
        if not found.pairs:
            what = f"{len(found.pictures)} pictures and {len(found.masks)} masks, and no two of one name"
            raise DataError(Problem(place.path, what, expected=self.help))
        notes = Notes()
        _tell_alone(found, place, notes)
        table = mask_classes.find(found.mask_folders, place.files)
        said = None if table is None else mask_classes.read(place.open(table))
        seen = _seen(found, place, None if said is None else said.values.colours, notes)
        if said is None:
            said = mask_classes.guessed(seen.values(), options.classes, place.path)
        names = [found.pictures[key] for key in found.pairs]
        parts: dict[str, list[tuple[str, SeenMask]]] = {}
        for name, split in zip(names, splits_of(names), strict=True):
            if name in seen and _is_usable(seen[name], said, notes):
                parts.setdefault(split, []).append((name, seen[name]))
        if not parts:
            parts[UNSPLIT] = []  # what is wrong with every mask is told with it
        splits = {s: _index(found.root, place.path, parts[s], said) for s in _ORDER if s in parts}
        return with_findings(splits, notes.all(place.path))

    def place_pictures(self, index: Index, split: str) -> list[str]:
        """`images/…`, below it the split."""
        return ["/".join(filter(None, ("images", split, bare_name(str(p)).replace("/", "_")))) for p in index.paths]

    def write(self, splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
        """`masks/…png`, ids with a palette (16 bit above 255 classes), and `classes.csv`.

        Outlines are painted in their order; where none lies is `background`, which becomes the first class.
        """
        lost = Lost()
        outlined = any(index.masks is None for index in splits.values())
        own = next(iter(splits.values())).classes
        added = outlined and BACKGROUND not in own
        classes = (BACKGROUND, *own) if added else own
        lost.add(f"pictures without a class {BACKGROUND}, which is now the first", int(added) * _count(splits))
        for split, index in splits.items():
            index = index.with_classes(classes)
            sizes = known_sizes(index)
            for row, name in enumerate(names[split]):
                class_HW = _painted(index, row, (int(sizes[row, 0]), int(sizes[row, 1])))
                path = folder / label_name(name, pictures="images", labels="masks", suffix=".png")
                storage.write_atomic(path, _png(class_HW))
            _tell_lost(index, lost)
        storage.write_atomic(folder / "classes.csv", _csv(classes))
        add_common(lost, splits, ignored=True)
        return lost.told()

    def write_predictions(
        self, index: Index, score_M: NDArray[Any], names: Sequence[str], folder: Path, *, model: str
    ) -> tuple[Loss, ...]:
        """As `write`; a mask has no room for scores."""
        return self.write({"": index}, {"": names}, folder)


# ---- reading -------------------------------------------------------------------------------------------------------


def _tell_alone(found: Layout, place: Place, notes: Notes) -> None:
    for key, name in found.pictures.items():
        if key not in found.masks:
            notes.add("warning", "no-mask", name, "the picture has no mask and is left out", "draw one, or take it out")
    for key, name in found.masks.items():
        if key not in found.pictures:
            notes.add("warning", "no-picture", place.open(name), "there is no picture to this mask", "add it")
    for first, other in found.alike:
        what = f"the picture has the bare name of {first}, which has the mask: it is left out"
        notes.add("warning", "no-mask", other, what, "rename it and its mask")
    for first, other in found.twice:
        notes.add("error", "duplicate-id", place.open(other), f"the picture has a mask already: {first}", "delete one")


def _seen(found: Layout, place: Place, colours: bool | None, notes: Notes) -> dict[str, SeenMask]:
    """Picture → its mask; those that can't be read are told."""
    keys = found.pairs
    paths = [place.open(found.masks[key]) for key in keys]
    seen: dict[str, SeenMask] = {}
    for key, mask in zip(keys, look_at_all(paths, colours=colours), strict=True):
        if isinstance(mask, Problem):
            told = "; ".join(filter(None, (mask.expected and f"expected {mask.expected}", mask.fix)))
            notes.add("error", "malformed", mask.where, mask.what, told or "export the mask again")
        else:
            seen[found.pictures[key]] = mask
    return seen


def _is_usable(mask: SeenMask, said: MaskClasses, notes: Notes) -> bool:
    """Has every value a class? What has none is told."""
    if said.values.others is not None:
        return True
    known = {value for value, _ in said.values.named}
    strange = [value for value in mask.values.tolist() if value not in known]
    if not strange:
        return True
    if mask.is_lossy:
        what = f"the mask is a JPEG, which changes values: it has {len(strange)} that no class has"
        notes.add("error", "unknown-class", mask.path, what, "export it as PNG")
        return False
    problem = said.values.unknown(strange, mask.path).problems[0]
    notes.add("error", "unknown-class", mask.path, problem.what, f"expected {problem.expected}; {problem.fix}")
    return False


def _index(root: str, source: str, pairs: Sequence[tuple[str, SeenMask]], said: MaskClasses) -> Index:
    """A row of labels for each class that a mask shows, with its pixels as the area."""
    meaning = dict(said.values.named)
    image_row, class_id, area = [], [], []
    for row, (_, mask) in enumerate(pairs):
        pixels: dict[int, int] = {}
        for value, count in zip(mask.values.tolist(), mask.pixels.tolist(), strict=True):
            found = meaning.get(value, said.values.others)
            if found is not None and found != IGNORE:
                pixels[found] = pixels.get(found, 0) + count
        image_row += [row] * len(pixels)
        class_id += sorted(pixels)
        area += [pixels[c] for c in sorted(pixels)]
    return assemble(
        root=root,
        source=source,
        format="masks",
        paths=[name for name, _ in pairs],
        classes=said.names,
        image_row=np.array(image_row, np.int64),
        class_id=np.array(class_id, np.int64),
        area=np.array(area, np.float64),
        files=[mask.path for _, mask in pairs],
        masks=[MaskFile(mask.path, mask.size_hw, said.values, mask.digest) for _, mask in pairs],
    )


# ---- writing -------------------------------------------------------------------------------------------------------


def _count(splits: Mapping[str, Index]) -> int:
    return sum(map(len, splits.values()))


def _painted(index: Index, row: int, size_hw: tuple[int, int]) -> ClassMap:
    truth = target(index.annotations(row), index.classes, None, index.name(row))
    return truth.class_map(truth.mask.size_hw if truth.mask is not None else size_hw, where=index.name(row))


def _tell_lost(index: Index, lost: Lost) -> None:
    outlines = int((index.segments.stop_M > index.segments.start_M).sum())
    lost.add("ignored regions, now pixels that count nowhere", index.ignored_count())
    if index.masks is not None:
        return
    lost.add("outlines of objects, now pixels of a class", outlines)
    lost.add("boxes", int((~np.isnan(index.box_xyxy[:, 0])).sum()))
    lost.add("labels without an outline", len(index.class_id) - outlines)
    lost.add("crowds", int(index.is_crowd.sum()))


def _png(class_HW: ClassMap) -> bytes:
    out = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(class_HW))
    if class_HW.dtype == np.uint8:
        palette = [band for class_id in range(255) for band in colour_of(class_id)]
        picture.putpalette([*palette, 0, 0, 0])
    picture.save(out, "PNG")
    return out.getvalue()


def _csv(classes: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("value", "class"))
    writer.writerows(enumerate(classes))
    writer.writerow((ignored(dtype_of(len(classes))), mask_classes.IGNORED))
    return text.getvalue()


FORMAT = Masks()
