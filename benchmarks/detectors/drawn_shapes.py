"""Drawn pictures for a detector to learn in minutes: shapes of four classes and many sizes, among what is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

SIDE_PX = 64
FINER = 2  # drawn so much larger, then reduced: edges are smooth
OBJECTS = (1, 4)  # in a picture
SIDES_PX = (10, 32)  # of an object, small ones more often
HIDDEN = 0.3  # at most so much of the smaller box may lie under another
CLUTTER = (2, 8)  # lines and specks
NOISE = 7.0  # grey values

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]
# A class is a form and a family of colours, so that neither alone tells it.
CLASSES = {
    "warm box": ("rectangle", (-20, 40)),
    "cold box": ("rectangle", (120, 180)),
    "warm disc": ("ellipse", (-20, 40)),
    "cold disc": ("ellipse", (120, 180)),
}


def draw(folder: Path, *, count: int, seed: int) -> Path:
    """`folder/<n>.png` and `.xml` (Pascal VOC), the same for the same seed."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for n in range(count):
        image, objects = picture(rng)
        image.save(folder / f"{n:03d}.png")
        (folder / f"{n:03d}.xml").write_text(_voc(f"{n:03d}.png", objects))
    return folder


def picture(rng: Generator) -> tuple[Image.Image, list[tuple[str, Box]]]:
    """A picture, and its objects by class."""
    side = SIDE_PX * FINER
    image = _ground(rng).resize((side, side), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    _clutter(pen, rng)
    objects = list(_objects(rng))
    for name, box in objects:
        form, hues = CLASSES[name]
        corners = [FINER * edge for edge in box[:2]] + [FINER * edge - 1 for edge in box[2:]]
        getattr(pen, form)(corners, fill=_colour(rng, hues))
    small = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5))).resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    noisy = np.asarray(small) + rng.normal(0, NOISE, (SIDE_PX, SIDE_PX, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), objects


def _ground(rng: Generator) -> Image.Image:
    """Soft patches of any colours: a few pixels, to be enlarged."""
    patches = rng.integers(50, 200, 3) + rng.normal(0, 25, (4, 4, 3))
    return Image.fromarray(patches.clip(0, 255).astype(np.uint8))


def _clutter(pen: ImageDraw.ImageDraw, rng: Generator) -> None:
    """Lines, specks and green shapes, which are none of the classes but have their colours or forms."""
    side, any_hue = SIDE_PX * FINER, (-180, 180)
    for _ in range(int(rng.integers(*CLUTTER))):
        x, y, dx, dy = (int(value) for value in (*rng.integers(0, side, 2), *rng.integers(-40, 40, 2)))
        pen.line((x, y, x + dx, y + dy), fill=_colour(rng, any_hue), width=int(rng.integers(1, 6)))
        x, y, size = (int(value) for value in (*rng.integers(0, side, 2), rng.integers(3, 12)))
        pen.ellipse((x, y, x + size, y + size), fill=_colour(rng, any_hue))
    for form in rng.choice(["rectangle", "ellipse"], int(rng.integers(0, 3))):
        x0, y0, x1, y1 = (FINER * edge for edge in _box(rng))
        getattr(pen, str(form))((x0, y0, x1, y1), fill=_colour(rng, (60, 100)))


def _objects(rng: Generator) -> Iterator[tuple[str, Box]]:
    """Boxes that hardly hide each other."""
    found: list[Box] = []
    for name in rng.choice(list(CLASSES), int(rng.integers(OBJECTS[0], OBJECTS[1] + 1))):
        box = _box(rng)
        if all(_hidden(box, other) <= HIDDEN for other in found):
            found.append(box)
            yield str(name), box


def _box(rng: Generator) -> Box:
    """Somewhere in the picture; its sides are drawn on a logarithmic scale."""
    least, most = np.log(SIDES_PX)
    width, height = (int(side) for side in np.exp(rng.uniform(least, most, 2)))
    x, y = int(rng.integers(0, SIDE_PX - width)), int(rng.integers(0, SIDE_PX - height))
    return x, y, x + width, y + height


def _hidden(one: Box, other: Box) -> float:
    """The shared area over the smaller one's."""
    width, height = (min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis]) for axis in (0, 1))
    area = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(width, 0) * max(height, 0) / area


def _colour(rng: Generator, hues: tuple[int, int]) -> Colour:
    """A colour of the range (degrees of the circle), pale or full, dark or bright."""
    hue = rng.integers(*hues) % 360 / 360
    values = (255 * hue, rng.integers(90, 220), rng.integers(100, 240))
    pixel = Image.new("HSV", (1, 1), tuple(int(value) for value in values)).convert("RGB")
    red, green, blue = np.asarray(pixel)[0, 0].tolist()
    return red, green, blue


def _voc(name: str, objects: list[tuple[str, Box]]) -> str:
    """VOC counts pixels from 1, the last included."""
    found = "".join(
        f"<object><name>{of}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for of, (x0, y0, x1, y1) in objects
    )
    size = f"<width>{SIDE_PX}</width><height>{SIDE_PX}</height><depth>3</depth>"
    return f"<annotation><filename>{name}</filename><size>{size}</size>{found}</annotation>"
