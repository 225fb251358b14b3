"""Makes `crown_boxes/`: tiles of real aerial photographs with every tree crown boxed by hand, as Pascal VOC.

    python examples/crown_boxes.py --out crown_boxes     # train/ and test/, a picture and an .xml each
    python examples/crown_boxes.py --out large --tile 0  # the photographs as large as they are, up to 937 × 1035 px

The pictures are those of `crowns.py`: from the Python package `deepforest` 1.3.0 (MIT licence; NEON aerial
photographs), fetched from the package registry as a file whose SHA-256 is checked. They are cut into tiles that do not
overlap; the right part of each picture is the test set, so that no tile of it shares a pixel with one that was learnt
from. A crown that a cut leaves less than half of is `difficult` there: neither asked for nor counted as wrong.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from crowns import PICTURES, Box, read, wheel
from PIL import Image

LEAST_PX = 96  # a narrower rest of a picture makes no tile
WHOLE = 0.5  # share of a box that must lie in the tile
TEST_FROM = 0.75  # of a picture's width


@dataclass(frozen=True)
class Tile:
    """A part of a picture, in its pixels."""

    picture: str
    part: str
    left: int
    top: int
    right: int
    bottom: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.picture}_{self.top:04d}-{self.left:04d}"


def tiles(picture: str, size: tuple[int, int], side: int) -> Iterator[Tile]:
    """The tiles of a picture, those of the test part last; without a side each part is one."""
    cut, side = round(TEST_FROM * size[0]), side or max(size)
    for part, begin, end in (("train", 0, cut), ("test", cut, size[0])):
        for top in range(0, size[1], side):
            for left in range(begin, end, side):
                right, bottom = min(left + side, end), min(top + side, size[1])
                if right - left >= LEAST_PX and bottom - top >= LEAST_PX:
                    yield Tile(picture, part, left, top, right, bottom)


def inside(tile: Tile, boxes: list[Box]) -> Iterator[tuple[Box, bool]]:
    """(the box in the tile's pixels, is too little of it left?) of every box that touches the tile."""
    for x0, y0, x1, y1 in boxes:
        left, top = max(x0, tile.left), max(y0, tile.top)
        right, bottom = min(x1, tile.right), min(y1, tile.bottom)
        if right - left < 1 or bottom - top < 1:
            continue
        share = (right - left) * (bottom - top) / ((x1 - x0) * (y1 - y0))
        yield (left - tile.left, top - tile.top, right - tile.left, bottom - tile.top), share < WHOLE


def save(image: Image.Image, tile: Tile, boxes: list[Box], folder: Path) -> int:
    """Writes picture and .xml; the number of crowns that are asked for. VOC counts pixels from 1, the last included."""
    target = folder / tile.part
    target.mkdir(parents=True, exist_ok=True)
    image.crop((tile.left, tile.top, tile.right, tile.bottom)).save(target / f"{tile.name}.png")
    found = list(inside(tile, boxes))
    objects = "".join(
        f"  <object><name>crown</name><difficult>{int(difficult)}</difficult><bndbox>"
        f"<xmin>{round(x0) + 1}</xmin><ymin>{round(y0) + 1}</ymin><xmax>{round(x1)}</xmax><ymax>{round(y1)}</ymax>"
        "</bndbox></object>\n"
        for (x0, y0, x1, y1), difficult in found
    )
    size = f"<width>{tile.right - tile.left}</width><height>{tile.bottom - tile.top}</height><depth>3</depth>"
    text = (
        f"<annotation>\n  <filename>{escape(tile.name)}.png</filename>\n  <size>{size}</size>\n{objects}</annotation>\n"
    )
    (target / f"{tile.name}.xml").write_text(text, encoding="utf-8")
    return sum(not difficult for _, difficult in found)


def main() -> None:
    """Writes the folder and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crown_boxes"), help="the folder to make")
    parser.add_argument("--cache", type=Path, default=Path(".cache/downloads"), help="where the package file is kept")
    parser.add_argument("--tile", type=int, default=256, metavar="PX", help="side of a tile; 0: uncut")
    args = parser.parse_args()
    if args.out.exists() and any(args.out.iterdir()):
        print(f"{args.out} is there already and is left as it is")
        return
    counts = {"train": [0, 0], "test": [0, 0]}
    with zipfile.ZipFile(wheel(args.cache)) as archive:
        for picture in PICTURES:
            image, boxes = read(archive, picture)
            for tile in tiles(picture, image.size, args.tile):
                counts[tile.part][0] += 1
                counts[tile.part][1] += save(image, tile, boxes, args.out)
    said = ", ".join(f"{part}: {tiles_} tiles with {crowns} crowns" for part, (tiles_, crowns) in counts.items())
    print(f"{args.out}: {said}, from deepforest 1.3.0 (MIT)")


if __name__ == "__main__":
    main()
