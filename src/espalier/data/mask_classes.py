"""What the values of a folder of masks mean: by the file that says it, or by a rule where none does.

Files, the first that is there: `classes.csv` or `class_dict.csv` with the columns `value` (a whole number, or `*` for
all others), `colour` (`#ff8000`) or `r,g,b`, and `class` or `name`; CVAT's `labelmap.txt`; `classes.txt` with a name a
line, the first one that of id 0. Values with the same class are one class; those of the class `ignore`, or of none,
count nowhere.

Without a file masks hold ids: 255 and in 16 bit 65535 are ignored (65535 alone where there are values between), and the
others are classes: the names in `data.classes` by their place, else `background` for 0 and `class 1`, … Masks of 0 and
255 alone are background and `foreground`. What the values of a JPEG were can't be told.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from espalier import storage
from espalier.data.mask_scan import SeenMask
from espalier.errors import DataError, Problem
from espalier.tasks.segmentation.prediction import BACKGROUND
from espalier.vision.class_maps import MOST_CLASSES
from espalier.vision.mask_file import IGNORE, MaskValues

FILES = ("classes.csv", "class_dict.csv", "labelmap.txt", "classes.txt")
IGNORED = "ignore"
OTHERS = "*"
_SHALLOW, _DEEP = 255, 65_535
MOST_GUESSED = 64  # more ids than this are most likely those of objects
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")
Entry = tuple[int | None, str | None]
"""(value, or None for all others; class, or None for ignored)."""


@dataclass(frozen=True)
class MaskClasses:
    """The classes in the order of their ids, and what the values of masks mean."""

    names: tuple[str, ...]
    values: MaskValues


def find(folders: Sequence[str], names: Sequence[str]) -> str | None:
    """The file that says it, in the first of the folders that has one; `names` are the files there are."""
    there = set(names)
    return next((f"{folder}/{file}".lstrip("/") for folder in folders for file in FILES
                 if f"{folder}/{file}".lstrip("/") in there), None)  # fmt: skip


def read(path: str) -> MaskClasses:
    """What the file says. Raises DataError that names the line."""
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(Problem(path, "the text is not UTF-8", fix="save the file as 'CSV UTF-8'")) from error
    if path.endswith("classes.txt"):
        return _made([(n, line.strip()) for n, line in enumerate(text.splitlines()) if line.strip()], False, path)
    if path.endswith("labelmap.txt"):
        return _made(list(_labelmap(text, path)), True, path)
    return _table(text, path)


def guessed(seen: Iterable[SeenMask], names: Sequence[str] | None, source: str) -> MaskClasses:
    """By the rule for masks of ids; `names` are data.classes. Raises DataError for colours, and for too many ids.

    Without a mask that could be looked at there are no classes.
    """
    masks = list(seen)
    if not masks:
        return MaskClasses((), MaskValues((), 0))
    if names is None:
        masks = _exact(masks, source)
    coloured = [mask for mask in masks if mask.is_coloured]
    if coloured:
        raise _needs_table(coloured, source)
    found = sorted({int(value) for mask in masks for value in mask.values})
    void = _void(masks, found, names, source)
    ignored: list[Entry] = [(value, None) for value in void]
    if names is not None:
        return _made([*((n, name) for n, name in enumerate(names) if n not in void), *ignored], False, source)
    ids = [value for value in found if value not in void]
    if len(ids) < len(found) and set(ids) <= {0}:
        return _made([(0, BACKGROUND), *((value, "foreground") for value in void)], False, source)
    if len(ids) > MOST_GUESSED:
        what = f"the masks hold {len(ids)} different values; are they numbers of objects?"
        fix = f"write classes.csv beside the folders, such as\n  value,class\n  0,{BACKGROUND}\n  {OTHERS},object"
        raise DataError(Problem(source, what, f"at most {MOST_GUESSED} classes where no classes.csv names them", fix))
    named: list[Entry] = [(value, BACKGROUND if value == 0 else f"class {value}") for value in ids]
    return _made([*named, *ignored], False, source)


def _exact(masks: Sequence[SeenMask], source: str) -> list[SeenMask]:
    """Those whose values are as they were drawn: a JPEG is, if at all, one in black and white. Raises DataError where
    none is; of others beside them the strange values are told one by one."""
    exact = [mask for mask in masks if not mask.is_lossy or set(mask.values.tolist()) <= {0, _SHALLOW}]
    if exact:
        return exact
    what = f"masks such as {masks[0].path} are JPEGs, which change values: it has {len(masks[0].values)} of them"
    raise DataError(Problem(source, what, "masks as PNG", "export them again as PNG"))


def _void(masks: Sequence[SeenMask], found: Sequence[int], names: Sequence[str] | None, source: str) -> tuple[int, ...]:
    """The values that are ignored: of 8 bit the highest, of 16 the highest of both, so long as nothing lies between.

    Raises DataError where masks of both depths hold more classes than 8 bit can, so that 255 may be one of them.
    """
    deep = [mask for mask in masks if mask.is_deep]
    if not deep:
        return (_SHALLOW,)
    if not any(_SHALLOW < value < _DEEP for value in found) and len(names or ()) <= _SHALLOW:
        return (_SHALLOW, _DEEP)
    if _SHALLOW not in found or len(deep) == len(masks):
        return (_DEEP,)
    what = f"there are masks of 8 and of 16 bit, such as {deep[0].path}, and {_SHALLOW} may be ignored or a class"
    fix = f"save all with 16 bit, or write classes.csv beside the folders:\n  value,class\n  0,{BACKGROUND}\n  …"
    raise DataError(Problem(source, what, "masks of one depth, or a classes.csv that says what 255 is", fix))


def _needs_table(masks: Sequence[SeenMask], source: str) -> DataError:
    counts: dict[int, int] = {}
    for mask in masks:
        for value, pixels in zip(mask.values.tolist()[:1000], mask.pixels.tolist(), strict=False):
            counts[value] = counts.get(value, 0) + pixels
    most = sorted(counts, key=lambda value: -counts[value])[:8]
    shown = ", ".join(f"#{value:06x}" for value in most) + (", …" if len(counts) > len(most) else "")
    what = f"masks such as {masks[0].path} are in colours ({shown}), and which class a colour is was not said"
    lines = "\n".join(f"  #{value:06x},CLASS" for value in most[:3])
    fix = f"write classes.csv beside the folders:\n  colour,class\n{lines}"
    return DataError(Problem(source, what, "a classes.csv", fix))


# ---- files ---------------------------------------------------------------------------------------------------------


def _table(text: str, path: str) -> MaskClasses:
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [cell.strip().lower() for cell in next(reader, [])]
    place = {name: number for number, name in enumerate(header)}
    name_at = next((place[name] for name in ("class", "name") if name in place), None)
    value_at = next((place[name] for name in ("value", "id") if name in place), None)
    colour_at = next((place[name] for name in ("colour", "color", "hex") if name in place), None)
    rgb_at = [place[band] for band in "rgb" if band in place]
    if name_at is None or (value_at is None and colour_at is None and len(rgb_at) != 3):
        expected = "value,class or colour,class or r,g,b,class"
        raise DataError(Problem(f"{path}:1", f"the columns are {', '.join(header)}"[:200], expected))
    entries: list[Entry] = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}:{reader.line_num}"
        if len(cells) < len(header):
            raise DataError(Problem(where, f"{len(cells)} cells where the header has {len(header)}"))
        if value_at is not None:
            value = _number(cells[value_at], where)
        else:
            parts = [cells[at] for at in rgb_at] if colour_at is None else cells[colour_at]
            value = None if parts == OTHERS else _colour(parts, where)
        name = cells[name_at].strip()
        entries.append((value, None if name.lower() in ("", IGNORED) else name))
    return _made(entries, value_at is None, path)


def _labelmap(text: str, path: str) -> Iterable[Entry]:
    """CVAT's `name:r,g,b:parts:actions`."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.partition(":")
            yield _colour(rest.partition(":")[0].split(","), f"{path}:{number}"), name.strip() or None


def _number(text: str, where: str) -> int | None:
    text = text.strip()
    if text == OTHERS:
        return None
    if not text.isascii() or not text.isdigit() or int(text) > MOST_CLASSES:
        raise DataError(
            Problem(where, f"'{text}' is no value of a mask", f"a whole number, or {OTHERS} for all others")
        )
    return int(text)


def _colour(value: str | Sequence[str], where: str) -> int:
    if isinstance(value, str):
        match = _HEX.fullmatch(value.strip())
        if match:
            return int(match[1], 16)
        value = re.split(r"[\s,;]+", value.strip(" ()[]"))
    bands = [int(part) for part in value if part.strip().isascii() and part.strip().isdigit()]
    if len(value) != 3 or len(bands) != 3 or max(bands) > 255:
        raise DataError(Problem(where, f"'{' '.join(value)}' is no colour", "#ff8000, or red, green, blue of 0 to 255"))
    return (bands[0] << 16) | (bands[1] << 8) | bands[2]


def _made(entries: Sequence[Entry], colours: bool, path: str) -> MaskClasses:
    """Classes are numbered as they come. Raises DataError for a value with two classes, and for none at all."""
    names = tuple(dict.fromkeys(name for _, name in entries if name is not None))
    if not names:
        raise DataError(Problem(path, "it names no class", "value,class or colour,class"))
    if len(names) > MOST_CLASSES:
        raise DataError(Problem(path, f"it names {len(names)} classes", f"at most {MOST_CLASSES}"))
    number = {name: place for place, name in enumerate(names)}
    meaning: dict[int | None, int] = {}
    for value, name in entries:
        class_id = IGNORE if name is None else number[name]
        if meaning.setdefault(value, class_id) != class_id:
            shown = OTHERS if value is None else f"#{value:06x}" if colours else str(value)
            raise DataError(Problem(path, f"{shown} has two classes", "one line for each value"))
    others = meaning.pop(None, None)
    named = tuple((value, class_id) for value, class_id in meaning.items() if value is not None)
    return MaskClasses(names, MaskValues(named, len(names), colours, others))
