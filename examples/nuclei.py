"""Makes `nuclei/`: tiles of a real fluorescence picture with every nucleus outlined by hand, as COCO's JSON.

    python examples/nuclei.py --out nuclei     # train/ and val/, 16-bit pictures and an _annotations.coco.json each

The picture comes from the Python package `stardist` 0.9.2 (BSD-3 licence), fetched from the package registry as a file
whose SHA-256 is checked; the package is not installed and nothing of it is imported. Of its 512 × 512 px the left half
is used, in tiles that do not overlap: the upper three quarters to learn from, the rest to score on. Outlines are
run-length masks; with `--polygons` they are polygons. A nucleus that a cut leaves less than half of is a crowd there:
neither asked for nor counted as wrong.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from crowns import fetched
from numpy.typing import NDArray
from PIL import Image

from espalier.vision.masks import encode_rle, mask_to_box, mask_to_polygons

WHEEL = "stardist-0.9.2-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl"
SHA256 = "2316c0feb7bd5621e7a277cb3868df475c338943c591925c420ee3622c42f023"
PIP = ("--only-binary", ":all:", "--platform", "manylinux_2_28_x86_64", "--python-version", "3.11", "--implementation",
       "cp", "--abi", "cp311")  # fmt: skip
"""That file and no other, whatever runs this: only its pictures are read."""
WIDTH = 256  # the left half
TRAIN_ROWS = 384
WHOLE = 0.5  # share of a nucleus that must lie in the tile
LEAST_PX = 5  # a smaller rest is no nucleus


def read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """A picture of the package, its left half."""
    image = Image.open(BytesIO(archive.read(f"stardist/data/images/{name}.tif")))
    return np.asarray(image)[:, :WIDTH]


def tiles(side: int) -> Iterator[tuple[str, int, int]]:
    """(part, top, left) of every tile."""
    for part, begin, end in (("train", 0, TRAIN_ROWS), ("val", TRAIN_ROWS, 512)):
        for top in range(begin, end - side + 1, side):
            for left in range(0, WIDTH - side + 1, side):
                yield part, top, left


def nuclei(label_HW: NDArray[Any], area: NDArray[Any], *, polygons: bool) -> Iterator[dict[str, Any]]:
    """COCO's annotations of a tile; `area[n]` are the pixels of nucleus n in the whole picture."""
    for number in np.unique(label_HW[label_HW > 0]).tolist():
        mask_HW = label_HW == number
        seen = int(mask_HW.sum())
        if seen < LEAST_PX:
            continue
        left, top, right, bottom = mask_to_box(mask_HW).tolist()
        outline = mask_to_polygons(mask_HW) if polygons else []
        yield {
            "category_id": 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": seen,
            "iscrowd": int(seen < WHOLE * area[number]),
            "segmentation": outline or encode_rle(mask_HW),
        }


def main() -> None:
    """Writes the folder and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("nuclei"), help="the folder to make")
    parser.add_argument("--cache", type=Path, default=Path(".cache/downloads"), help="where the package file is kept")
    parser.add_argument("--tile", type=int, default=128, metavar="PX", help="side of a tile, at most 128")
    parser.add_argument("--polygons", action="store_true", help="outlines as polygons, not as run lengths")
    args = parser.parse_args()
    if args.out.exists() and any(args.out.iterdir()):
        print(f"{args.out} is there already and is left as it is")
        return
    with zipfile.ZipFile(fetched(args.cache, WHEEL, SHA256, *PIP)) as archive:
        image_HW, label_HW = read(archive, "img2d"), read(archive, "mask2d")
    area = np.bincount(label_HW.ravel())
    parts: dict[str, dict[str, Any]] = {
        part: {"images": [], "annotations": [], "categories": [{"id": 1, "name": "nucleus"}]}
        for part in ("train", "val")
    }
    for part, top, left in tiles(args.tile):
        data, folder = parts[part], args.out / part
        folder.mkdir(parents=True, exist_ok=True)
        name, cut = f"nuclei_{top:03d}-{left:03d}.png", np.s_[top : top + args.tile, left : left + args.tile]
        Image.fromarray(np.ascontiguousarray(image_HW[cut])).save(folder / name)
        picture = len(data["images"]) + 1
        data["images"].append({"id": picture, "file_name": name, "width": args.tile, "height": args.tile})
        for found in nuclei(label_HW[cut], area, polygons=args.polygons):
            data["annotations"].append({"id": len(data["annotations"]) + 1, "image_id": picture, **found})
    for part, data in parts.items():
        (args.out / part / "_annotations.coco.json").write_text(json.dumps(data), encoding="utf-8")
    said = ", ".join(
        f"{part}: {len(data['images'])} tiles with {sum(not a['iscrowd'] for a in data['annotations'])} nuclei"
        for part, data in parts.items()
    )
    print(f"{args.out}: {said}, from stardist 0.9.2 (BSD-3)")


if __name__ == "__main__":
    main()
