"""Which mask belongs to which picture: by their folders and their bare names.

Pictures lie in a folder such as `images`, masks in one such as `masks`, with or without `train`, `val` and `test` above
or below it: `images/train/a.jpg` and `masks/train/a.png`, `train/images/a.jpg` and `train/masks/a.png`. A mask may say
what it is at the end of its name (`a_mask.png`), and so may Cityscapes' pictures (`…_leftImg8bit.png`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from espalier.data.formats.base import Place, is_picture
from espalier.data.sidecars import pictures_of

IMAGES = frozenset(
    {"images", "image", "img", "imgs", "jpegimages", "pictures", "photos", "leftimg8bit", "rgb", "input", "inputs"}
)
MASKS = frozenset(
    {"masks", "mask", "segmentationclass", "segmentation", "segmentations", "seg", "labels", "label", "annotations",
     "annotation", "gt", "groundtruth", "ground_truth", "gtfine", "labelids"}
)  # fmt: skip
_TAIL = re.compile(r"_(leftimg8bit|gtfine_labelids|labelids|masks?|labels?|seg|segmentation|gt)$", re.IGNORECASE)
_SIBLING = re.compile(r"_(color|colour|instanceids|labeltrainids)$", re.IGNORECASE)
Key = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Names below the folder of pictures and below the data set's."""

    root: str  # what pictures are below
    pictures: dict[Key, str]
    masks: dict[Key, str]
    twice: tuple[tuple[str, str], ...]  # masks of one picture: the one that counts, the other
    alike: tuple[tuple[str, str], ...]  # pictures of one name: the one that its mask goes with, the other

    @property
    def pairs(self) -> list[Key]:
        """What has both, in the order of the pictures."""
        return [key for key in self.pictures if key in self.masks]

    @property
    def mask_folders(self) -> list[str]:
        """The folders in which masks lie, and those above them, the root first."""
        found = {"": None}
        for name in list(self.masks.values())[:1000]:
            parts = name.split("/")[:-1]
            found.update({"/".join(parts[: n + 1]): None for n in range(len(parts))})
        return list(found)


def layout(place: Place, images: str | None) -> Layout:
    """What lies where; `images` is the folder of pictures when the user names one."""
    root, names = pictures_of(place, images)
    masks: dict[Key, str] = {}
    twice = []
    for name in place.files:
        key = _key(name, MASKS)
        if key is None or not is_picture(name) or _SIBLING.search(_stem(name)):
            continue
        if key in masks:
            twice.append((masks[key], name))
        masks.setdefault(key, name)
    pictures: dict[Key, str] = {}
    alike: list[tuple[str, str]] = []
    for name in names:
        own = _plain(name) if images is not None else None
        key = _key(name, IMAGES) or own
        if key is not None and (images is not None or _key(name, MASKS) is None or _key(name, IMAGES) is not None):
            first = pictures.setdefault(key, name)
            alike += [] if first == name else [(first, name)]
    return Layout(root, pictures, masks, tuple(twice), tuple(alike))


def _key(name: str, roles: frozenset[str]) -> Key | None:
    """What a picture and its mask have in common: their folders without the last that is of `roles`; None without."""
    *folders, _ = name.split("/")
    places = [place for place, folder in enumerate(folders) if folder.lower() in roles]
    if not places:
        return None
    del folders[places[-1]]
    return (*folders, _TAIL.sub("", _stem(name)))


def _plain(name: str) -> Key:
    *folders, _ = name.split("/")
    return (*folders, _TAIL.sub("", _stem(name)))


def _stem(name: str) -> str:
    leaf = name.rpartition("/")[2]
    return leaf.rpartition(".")[0] or leaf
