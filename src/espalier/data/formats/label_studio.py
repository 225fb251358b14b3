"""Label Studio's JSON: rectangles and polygons in per cent, brush masks, and choices as labels.

Of several annotations of a task the one marked as ground truth counts, else the first that wasn't cancelled. A task
without any is not part of the set; an annotation without a result is that of a background picture. A turned rectangle
keeps its corners as a polygon, and its box is the upright one around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from espalier import storage
from espalier.data.brush import pack, unpack
from espalier.data.findings import Notes
from espalier.data.formats.base import (
    SPLIT_NAMES,
    UNSPLIT,
    Loss,
    Options,
    Place,
    is_picture,
    parent,
    picture_root,
    safe_name,
    split_in_name,
)  # fmt: skip
from espalier.data.index import UNKNOWN, Index, with_findings
from espalier.data.lost import CROWDS, Lost, add_common, unused_classes
from espalier.data.outlines import as_text, extent, segment_of, turned_rectangle
from espalier.data.picture_sizes import known_sizes
from espalier.data.rows import NO_BOX, BoxXyxy, Rows
from espalier.errors import DataError, Problem
from espalier.vision.masks import decode_rle, segment_box
from espalier.vision.rle import placed

_ORDER = ("train", "val", "test")
_SNIFFED_BYTES = 1 << 16
_FARTHEST = 1000.0  # per cent; beyond is nonsense, a box a little outside is left to `data check`
_SAME_PX = 0.01
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file


class LabelStudio:
    """Label Studio's JSON."""

    name = "label_studio"
    help = "Label Studio's JSON export: rectangles, polygons, brush masks, choices"
    holds = frozenset({"label", "box", "polygon", "rle"})
    refers = True
    tells_classes = False
    by_stem = False

    def detect(self, place: Place) -> int:
        """Sure of a .json that is a list of tasks."""
        if not place.is_folder:
            return 91 if place.suffix == ".json" and _speaks(place.path) else 0
        return 82 if _label_files(place) else 0

    def read(self, place: Place, options: Options) -> dict[str, Index]:
        """The parts are files for each, or what `data.split` of a task says, as `data convert` writes it."""
        files = _label_files(place) if place.is_folder else {"": place.path}
        if not files:
            raise DataError(Problem(place.path, "no Label Studio .json file in it", expected=self.help))
        notes, rows, numbers_of = Notes(), dict[str, Rows](), dict[str, int]()
        has_groups = options.group in (None, "group")
        for split, path in files.items():
            for number, task in enumerate(_tasks(path)):
                where = f"{path}: task {_name_of(task, number)}"
                _read_task(task, where, split, rows, numbers_of, notes, has_groups=has_groups)
        rows = rows or {UNSPLIT: Rows(numbers_of)}
        first = next(iter(files.values()))
        root = options.images or _root(parent(first), rows)
        classes = sorted(numbers_of)
        found = {
            split: rows[split].index(classes, root=root, source=files.get(split, first), format=self.name)
            for split in _ORDER
            if split in rows
        }
        return with_findings(found, notes.all(place.path))

    def place_pictures(self, index: Index, split: str) -> list[str]:
        """`images/split/…`."""
        return ["/".join(filter(None, ("images", split, safe_name(str(path))))) for path in index.paths]

    def write(self, splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
        """One `label_studio.json`; a task's `data` names its picture, its part and its group."""
        lost = Lost()
        tasks = [
            {"data": data, "annotations": [{"result": results}]}
            for split, index in splits.items()
            for data, results in _tasks_of(index, split, names[split], lost)
        ]
        _write_tasks(folder, tasks)
        add_common(lost, splits, groups=True)
        lost.add("classes that no picture has", unused_classes(splits))
        return lost.told()

    def write_predictions(
        self, index: Index, score_M: NDArray[Any], names: Sequence[str], folder: Path, *, model: str
    ) -> tuple[Loss, ...]:
        """As `write`, but as predictions, which a person is shown and accepts or corrects: no labels until then."""
        lost = Lost()
        tasks = [
            {"data": data, "predictions": [{"model_version": model, "score": _mean(results), "result": results}]}
            for data, results in _tasks_of(index, UNSPLIT, names, lost, score_M)
        ]
        _write_tasks(folder, tasks)
        return lost.told()


# ---- finding and decoding ------------------------------------------------------------------------------------------


def _speaks(path: str) -> bool:
    with storage.open_read(path) as file:
        begin = file.read(_SNIFFED_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n")
    words = (b'"annotations"', b'"completions"', b'"result"', b'"predictions"')
    return begin.startswith(b"[") and b'"data"' in begin and any(word in begin for word in words)


def _label_files(place: Place) -> dict[str, str]:
    """Split → file, by the files' names; one file is all ('')."""
    names = [name for name in place.files if name.lower().endswith(".json") and "/" not in name][:20]
    names = [name for name in names if _speaks(place.open(name))]
    if len(names) == 1:
        return {"": place.open(names[0])}
    found = {split: place.open(name) for name in reversed(names) if (split := split_in_name(name))}
    return {split: found[split] for split in _ORDER if split in found}


def _tasks(path: str) -> Iterator[Any]:
    """Each task, decoded by itself: what one holds is never in memory with the others."""
    import msgspec

    content = storage.read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    try:
        raws = msgspec.json.decode(content, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(Problem(path, f"not Label Studio's JSON: {error}", "a list of tasks")) from error
    del content
    for raw in raws:
        try:
            yield msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            yield DataError(Problem("", f"not valid JSON: {error}"))


def _name_of(task: Any, number: int) -> str:
    known = task.get("id") if isinstance(task, dict) else None
    return str(known)[:40] if isinstance(known, int | str) else f"number {number + 1}"


# ---- reading -------------------------------------------------------------------------------------------------------


def _read_task(
    task: Any, where: str, split: str, rows: dict[str, Rows], numbers_of: dict[str, int], notes: Notes,
    *, has_groups: bool,
) -> None:  # fmt: skip
    data = task.get("data") if isinstance(task, dict) else None
    picture = _picture(data) if isinstance(data, dict) else ""
    if not isinstance(data, dict) or not picture:
        what = task.problems[0].what if isinstance(task, DataError) else "the task names no picture in 'data'"
        notes.add("error", "malformed", where, what, "correct or delete the task")
        return
    results = _chosen(task, where, notes)
    if results is None:
        notes.once("unlabelled", "task", where, "tasks without an annotation are left out: nobody said what they show")
        return
    said = SPLIT_NAMES.get(str(data.get("split", "")).lower(), UNSPLIT)
    part = rows.setdefault(split or said, Rows(numbers_of))
    group = data.get("group")
    known = group if has_groups and isinstance(group, str) else ""
    row = part.picture(picture, size_hw=_size(results), file=where, group=known)
    for result in results:
        _read_result(result, where, part, row, notes)


def _picture(data: Mapping[str, Any]) -> str:
    """The address of the picture: `image`, or the first value that looks like one."""
    texts = [data.get("image"), data.get("img"), *data.values()]
    found = [text for text in texts if isinstance(text, str) and text]
    address = next(
        (text for text in found if is_picture(_plain(text))), found[0] if data.get("image") and found else ""
    )
    return _plain(address)


def _plain(address: str) -> str:
    """Label Studio's addresses as paths: of local files what follows `?d=`, of uploads the file's name."""
    if address.startswith("/data/local-files/"):
        return parse_qs(urlsplit(address).query).get("d", [""])[0]
    if address.startswith("/data/upload/"):
        return unquote(address.rpartition("/")[2])
    return address.removeprefix("file://")


def _chosen(task: Mapping[str, Any], where: str, notes: Notes) -> list[Any] | None:
    """The results of the annotation that counts, or None."""
    found = task.get("annotations", task.get("completions"))
    done = [
        item
        for item in (found if isinstance(found, list) else [])
        if isinstance(item, dict) and isinstance(item.get("result"), list) and not item.get("was_cancelled")
    ]
    if not done:
        return None
    if len(done) > 1:
        what = "tasks have several annotations; the ground truth, or else the first of each, is read"
        notes.once("several-annotations", "task", where, what)
    chosen: list[Any] = next((item for item in done if item.get("ground_truth")), done[0])["result"]
    return chosen


def _size(results: Sequence[Any]) -> tuple[int, int]:
    return next((size for result in results if (size := _original_hw(result))[0] != UNKNOWN), (UNKNOWN, UNKNOWN))


def _original_hw(result: Any) -> tuple[int, int]:
    said = [result.get(f"original_{side}") for side in ("height", "width")] if isinstance(result, dict) else []
    sides = [int(side) for side in said if isinstance(side, int | float) and 1 <= side < 2**31]
    return (sides[0], sides[1]) if len(sides) == 2 else (UNKNOWN, UNKNOWN)


def _read_result(result: Any, where: str, rows: Rows, row: int, notes: Notes) -> None:
    value = result.get("value") if isinstance(result, dict) else None
    kind = str(result.get("type", "")) if isinstance(result, dict) else ""
    if not isinstance(value, dict):
        if kind != "relation":
            notes.add("error", "malformed", where, "a result has no value", "correct or delete it")
        return
    place = f"{where}: result {str(result.get('id', ''))[:40]}"
    names = _labels(value)
    if names is None:
        notes.once("not-kept", kind, place, f"results of the kind '{kind[:40]}' are not kept")
        return
    try:
        box, outline = _placed(result, value, kind)
    except DataError as error:
        notes.add("error", "malformed", place, error.problems[0].what, "correct or delete the result")
        return
    for name in names:
        rows.label(row, name, box, outline=outline)


def _labels(value: Mapping[str, Any]) -> list[str] | None:
    """The class names of a result; None for a kind that is not kept."""
    words = ("rectanglelabels", "polygonlabels", "brushlabels", "labels", "choices")
    found = next((value[word] for word in words if word in value), None)
    if not isinstance(found, list) or "keypointlabels" in value or "start" in value:
        return None
    return [name.strip() for name in found if isinstance(name, str) and name.strip()]


def _placed(result: Mapping[str, Any], value: Mapping[str, Any], kind: str) -> tuple[BoxXyxy, bytes]:
    """Box and outline of a result, in pixels. Raises DataError."""
    if "choices" in value:
        return NO_BOX, b""
    size_hw = _original_hw(result)
    if size_hw[0] == UNKNOWN:
        raise DataError(f"the {kind[:40]} has no original_width and original_height, which its per cent are of")
    if result.get("image_rotation") not in (None, 0, 0.0):
        raise DataError("the picture was turned in Label Studio, so the per cent are not of the picture as it is")
    if "rle" in value:
        mask_HW = unpack(value["rle"] if isinstance(value["rle"], list) else [], size_hw)
        rle = placed(mask_HW, 0, 0, size_hw, compressed=False)
        x1, y1, x2, y2 = segment_box(rle).tolist() if mask_HW.any() else NO_BOX
        return (x1, y1, x2, y2), as_text(rle)
    if "points" in value:
        return _polygon(value["points"], size_hw)
    return _rectangle(value, size_hw)


def _rectangle(value: Mapping[str, Any], size_hw: tuple[int, int]) -> tuple[BoxXyxy, bytes]:
    """Label Studio turns a rectangle about its own first corner."""
    x, y, width, height = _pixels([value.get(word) for word in ("x", "y", "width", "height")], size_hw, "rectangle")
    turn = value.get("rotation", 0)
    if not isinstance(turn, int | float) or not abs(turn) < 1e6:
        raise DataError("the rotation of a rectangle is no number of degrees")
    if turn % 360 == 0:
        return (x, y, x + width, y + height), b""
    corners = turned_rectangle(x, y, width, height, turn, (x, y))
    return extent([corners]), as_text([corners])


def _polygon(points: Any, size_hw: tuple[int, int]) -> tuple[BoxXyxy, bytes]:
    pairs = points if isinstance(points, list) else []
    if len(pairs) < 3 or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise DataError("the points of a polygon are not three or more pairs of numbers")
    flat = _pixels([value for pair in pairs for value in pair], size_hw, "polygon")
    return extent([flat]), as_text([flat])


def _pixels(shares: Sequence[Any], size_hw: tuple[int, int], what: str) -> list[float]:
    """Per cent of width and height, in turns, as pixels."""
    if not all(isinstance(share, int | float) and abs(share) < _FARTHEST for share in shares):
        raise DataError(f"a number of the {what} is no per cent of the picture's width or height")
    return [share / 100 * side for share, side in zip(shares, (size_hw[1], size_hw[0]) * (len(shares) // 2))]


def _root(here: str, rows: Mapping[str, Rows]) -> str:
    """The folder that paths are relative to; uploads lose the eight characters before their name where it lies so."""
    folders = [here, storage.join(here, "images")]
    first = [path for part in rows.values() for path in part.paths[:3]]
    if any(storage.exists(storage.join(folder, path)) for folder in folders for path in first if "://" not in path):
        return picture_root(folders, first)
    bare = [_UPLOAD.sub("", path) for path in first]
    if bare != first and any(storage.exists(storage.join(folder, path)) for folder in folders for path in bare):
        for part in rows.values():
            part.paths = [_UPLOAD.sub("", path) for path in part.paths]
        return picture_root(folders, bare)
    return here


# ---- writing -------------------------------------------------------------------------------------------------------


def _write_tasks(folder: Path, tasks: Sequence[Mapping[str, Any]]) -> None:
    import msgspec

    numbered = [{"id": number, **task} for number, task in enumerate(tasks, 1)]
    storage.write_atomic(folder / "label_studio.json", msgspec.json.format(msgspec.json.encode(numbered), indent=1))


def _mean(results: Sequence[Mapping[str, Any]]) -> float:
    """How sure the model is of a picture as a whole; 1 of one in which it finds nothing."""
    return sum(result["score"] for result in results) / len(results) if results else 1.0


def _tasks_of(
    index: Index, split: str, names: Sequence[str], lost: Lost, score_M: NDArray[Any] | None = None
) -> Iterator[tuple[dict[str, str], list[dict[str, Any]]]]:
    """`data` and results of each picture. Raises DataError for one whose size nobody knows."""
    sizes = known_sizes(index)
    for row, name in enumerate(names):
        height, width = (int(side) for side in sizes[row])
        if height == UNKNOWN and index.offsets[row + 1] > index.offsets[row]:
            raise DataError(Problem(index.path(row), "per cent of a picture need its size, and it can't be read"))
        data = {"image": name, "split": split}
        if index.group is not None:
            data["group"] = str(index.group[row])
        yield data, _results(index, row, (height, width), lost, score_M)


def _results(
    index: Index, row: int, size_hw: tuple[int, int], lost: Lost, score_M: NDArray[Any] | None = None
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for m in range(int(index.offsets[row]), int(index.offsets[row + 1])):
        score = {} if score_M is None else {"score": round(float(score_M[m]), 6)}
        box = index.box_xyxy[m].astype(np.float64)
        segment = segment_of(index, m)
        if index.is_crowd[m]:
            lost.add(CROWDS)
            lost.add("outlines of crowds", bool(segment))
            continue
        parts = segment if isinstance(segment, list) else [segment]
        lost.add("outlines in several parts, now an object each", len(parts) > 1)
        if segment and not np.isnan(box[0]):
            differs = bool(np.abs(box - segment_box(segment)).max() > _SAME_PX)
            lost.add("boxes that are not their outline's extent, which is read in their place", differs)
        for part in parts:
            result = _result(index.classes[index.class_id[m]], box, part, size_hw, f"{row}-{len(found)}")
            found.append({**result, **score})
    return found


def _result(name: str, box: Any, part: Any, size_hw: tuple[int, int], number: str) -> dict[str, Any]:
    height, width = size_hw
    value: dict[str, Any]
    if isinstance(part, dict):
        kind, value = "brushlabels", {"format": "rle", "rle": pack(decode_rle(part))}
    elif part:
        shares = (np.reshape(part, (-1, 2)) / (width, height) * 100).tolist()
        kind, value = "polygonlabels", {"points": shares, "closed": True}
    elif np.isnan(box[0]):
        kind, value = "choices", {}
    else:
        x, y, right, bottom = (box / (width, height, width, height) * 100).tolist()
        kind, value = "rectanglelabels", {"x": x, "y": y, "width": right - x, "height": bottom - y, "rotation": 0}
    result = {
        "id": number, "type": kind, "from_name": "choice" if kind == "choices" else "label", "to_name": "image",
        "value": {**value, kind: [name]},
    }  # fmt: skip
    return result if kind == "choices" else {**result, "original_width": width, "original_height": height}


FORMAT = LabelStudio()
