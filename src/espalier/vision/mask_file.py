"""A picture's classes as a file: an image whose values, or colours, are classes; decoded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import DataError, Problem
from espalier.vision.class_maps import ClassMap, counted, dtype_of, ignored
from espalier.vision.image import read_image, read_values

IGNORE = -1
_PIXELS_AT_ONCE = 1 << 22
MOST_PIXELS = 1_000_000_000
"""Of a mask: it is as large as its picture, whose own limit (data.max_pixels) is the one that counts."""


@dataclass(frozen=True)
class MaskValues:
    """What the values of mask files mean: (value, class id, or `IGNORE`) each.

    A colour's value is its red, green and blue in one number, red highest. Values that are not named are an error,
    unless `others` gives them a class.
    """

    def by(self, class_ids: Sequence[int], classes: int) -> MaskValues:
        """The same values with other class ids; `class_ids` has the new one of each, -1 for none."""
        table = {IGNORE: IGNORE, **dict(enumerate(class_ids))}
        named = tuple((value, table[class_id]) for value, class_id in self.named)
        others = None if self.others is None else table[self.others]
        return MaskValues(named, classes, self.colours, others)

    named: tuple[tuple[int, int], ...]
    classes: int
    colours: bool = False
    others: int | None = None  # the class of all values that are not named, where they are allowed

    def classes_of(self, raw_HW: NDArray[Any], *, where: str) -> ClassMap:
        """(H, W) class map of a mask's values. Raises DataError for a value that is not named."""
        dtype = dtype_of(self.classes)
        if raw_HW.dtype not in (np.uint8, np.uint16):
            return self._looked_up(raw_HW, where, dtype)
        known_V, table_V = self._tables(int(np.iinfo(raw_HW.dtype).max) + 1, dtype)
        if not known_V.all():
            used = np.flatnonzero(counted(raw_HW))
            if not known_V[used].all():
                raise self.unknown(used[~known_V[used]], where)
        found_HW = np.empty(raw_HW.shape, dtype)
        for rows in blocks_of(raw_HW):  # numpy looks up by a copy of 8 bytes a pixel
            table_V.take(raw_HW[rows], out=found_HW[rows], mode="clip")  # nothing is clipped; with an out it is quicker
        return found_HW

    def _looked_up(self, colour_HW: NDArray[Any], where: str, dtype: np.dtype[Any]) -> ClassMap:
        """The class map of values that are too many for a table."""
        named = [(-1, IGNORE), *sorted(self.named)]  # no colour is -1; so there always is one
        value_V = np.array([value for value, _ in named], colour_HW.dtype)
        other = self._stored(IGNORE if self.others is None else self.others, dtype)
        stored_V = np.array([*(self._stored(class_id, dtype) for _, class_id in named), other], dtype)
        found_HW, strange = np.empty(colour_HW.shape, dtype), set[int]()
        for rows in blocks_of(colour_HW):
            place_RW = np.searchsorted(value_V, colour_HW[rows])
            is_named_RW = value_V.take(place_RW, mode="clip") == colour_HW[rows]
            if self.others is None and not is_named_RW.all():
                strange.update(np.unique(colour_HW[rows][~is_named_RW]).tolist())
            place_RW[~is_named_RW] = len(named)
            stored_V.take(place_RW, out=found_HW[rows])
        if strange:
            raise self.unknown(sorted(strange), where)
        return found_HW

    def _tables(self, size: int, dtype: np.dtype[Any]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        other = IGNORE if self.others is None else self.others
        known_V, table_V = np.full(size, self.others is not None), np.full(size, self._stored(other, dtype), dtype)
        for value, class_id in self.named:
            if value < size:
                known_V[value], table_V[value] = True, self._stored(class_id, dtype)
        return known_V, table_V

    @staticmethod
    def _stored(class_id: int, dtype: np.dtype[Any]) -> int:
        return ignored(dtype) if class_id == IGNORE else class_id

    def unknown(self, values: Sequence[int] | NDArray[Any], where: str) -> DataError:
        """The error for values in a mask that no class has."""
        shown = ", ".join(self.word(int(value)) for value in values[:5]) + (", …" if len(values) > 5 else "")
        what = f"the mask has the {'colour' if self.colours else 'value'} {shown}, which no class has"
        fix = "give it a class, or 'ignore', in the masks' classes.csv"
        return DataError(Problem(where, what, f"one of {self.words}", fix))

    def word(self, value: int) -> str:
        """A value as people write it: 7, or #ff8000."""
        return f"#{value:06x}" if self.colours else str(value)

    @property
    def words(self) -> str:
        """The values that are named, the first ones."""
        first = ", ".join(self.word(value) for value, _ in self.named[:10])
        return first + (", …" if len(self.named) > 10 else "")


@dataclass(frozen=True)
class MaskFile:
    """One picture's mask, `size_hw` large."""

    path: str
    size_hw: tuple[int, int]
    values: MaskValues
    digest: str = ""  # of its pixels: changes with any of them

    def read(self) -> ClassMap:
        """(H, W) class map, not to be written to. Raises DataError for a file or a value that can't be used."""
        return _read(self)


@lru_cache(maxsize=2)  # tiles of one picture, and its prediction's score, ask for the same one
def _read(mask: MaskFile) -> ClassMap:
    raw_HW = read_raw(mask.path, colours=mask.values.colours)
    found_HW = mask.values.classes_of(raw_HW, where=mask.path)
    found_HW.setflags(write=False)
    return found_HW


def read_raw(path: str, *, colours: bool) -> NDArray[Any]:
    """(H, W) the values of a mask file, or with `colours` its colours as numbers. Raises ImageError, DataError."""
    if colours:
        return as_numbers(read_image(path, channels="rgb", max_pixels=MOST_PIXELS, is_mask=True), path)
    values = read_values(path, max_pixels=MOST_PIXELS)
    if values.ndim == 2:
        return values
    if is_grey(values):
        return np.ascontiguousarray(values[:, :, 0])
    what = "the mask is in colours, and which class a colour is was not said"
    raise DataError(Problem(path, what, "a classes.csv beside the masks", "colour,class / #ff0000,road / …"))


def is_grey(colour_HW3: NDArray[Any]) -> bool:
    """Are its three bands the same?"""
    red, green, blue = (colour_HW3[:, :, band] for band in range(3))
    return bool(np.array_equal(red, green) and np.array_equal(red, blue))


def as_numbers(colour_HW3: NDArray[Any], where: str) -> NDArray[np.int32]:
    """(H, W) red, green and blue of each pixel in one number. Raises DataError for 16-bit colours."""
    if colour_HW3.dtype != np.uint8:
        raise DataError(Problem(where, "the mask has colours of 16 bit", "8-bit colours, or one channel of class ids"))
    number_HW = np.empty(colour_HW3.shape[:2], np.int32)
    for rows in blocks_of(colour_HW3):
        red, green, blue = (colour_HW3[rows, :, band].astype(np.int32) for band in range(3))
        number_HW[rows] = (red << 16) | (green << 8) | blue
    return number_HW


def blocks_of(picture: NDArray[Any]) -> Iterator[slice]:
    """Its rows, so many at once that what is computed of them takes little beside a huge picture."""
    step = max(1, _PIXELS_AT_ONCE // max(1, picture.shape[1]))
    return (slice(top, top + step) for top in range(0, picture.shape[0], step))
