"""Seconds a picture of the 15 common corruptions at 224 px on one core, ours against imagecorruptions, in turns.

    python benchmarks/corruptions.py [--picture FILE] [--px 224] [--rounds 5]

The peer (imagecorruptions 1.1.2, Apache-2.0) is no dependency of ours. In an environment of its own:

    python -m venv peer
    peer/bin/pip install 'setuptools<80' scikit-image scipy opencv-python-headless pillow
    peer/bin/pip install --no-deps imagecorruptions==1.1.2
    peer/bin/pip install --no-deps -e .
    peer/bin/python benchmarks/corruptions.py

It uses three names that numpy, scipy and scikit-image have dropped since; this script gives them back to it and changes
nothing else. The time of a corruption is the median over the rounds of its mean over the five severities. Beside it:
for corruptions without chance the mean and the largest difference between both pictures (of 255), for the others how
far each moves the picture on average. Fails when ours takes more than half of the peer's time.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import types
import warnings
from collections.abc import Callable
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # read by the libraries when they are first imported

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from espalier.vision.corruptions import COMMON, EXTRA, SEVERITIES, corrupt  # noqa: E402

LIMIT = 0.5
FIXED = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
FIXED |= {"gaussian_blur", "saturate"}
Corrupt = Callable[[np.ndarray[Any, Any], str, int, int], np.ndarray[Any, Any]]
"""(image_HWC, name, severity, round) → the corrupted picture."""


def ours(image_HWC: np.ndarray[Any, Any], name: str, severity: int, turn: int) -> np.ndarray[Any, Any]:
    return corrupt(image_HWC, name, severity, seed=turn, key="picture")


def peer() -> Corrupt | None:
    """imagecorruptions, made to run on today's libraries; None where it isn't installed."""
    try:
        import scipy.ndimage
        import skimage.filters
    except ModuleNotFoundError:
        return None
    plain = skimage.filters.gaussian
    skimage.filters.gaussian = lambda image, sigma=1, *rest, multichannel=False, **named: plain(
        image, sigma, *rest, channel_axis=-1 if multichannel else None, **named
    )
    np.float_ = np.float64  # type: ignore[attr-defined]
    moved: Any = types.ModuleType("scipy.ndimage.interpolation")
    moved.map_coordinates = scipy.ndimage.map_coordinates
    sys.modules["scipy.ndimage.interpolation"] = moved
    try:
        import imagecorruptions
    except ModuleNotFoundError:
        return None
    return lambda image, name, severity, turn: imagecorruptions.corrupt(image, severity, name)


def drawn(px: int) -> np.ndarray[Any, Any]:
    """A picture with smooth colours, edges and some texture, by seed."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:px, 0:px] / px
    waves = np.stack([np.sin(7 * x + 3 * y + c) * np.cos(5 * y - c * x) for c in range(3)], axis=2)
    discs = sum(
        ((x - a) ** 2 + (y - b) ** 2 < r**2) * v for a, b, r, v in rng.uniform(0.05, 0.9, (12, 4)) * (1, 1, 0.2, 1)
    )
    values = 0.45 + 0.25 * waves + 0.3 * np.asarray(discs)[..., None] + rng.normal(0, 0.02, (px, px, 3))
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)


def seconds(work: Corrupt, image_HWC: np.ndarray[Any, Any], name: str, turn: int) -> float:
    """Of one corruption, the mean over its severities."""
    start = time.perf_counter()
    for severity in SEVERITIES:
        work(image_HWC, name, severity, turn)
    return (time.perf_counter() - start) / len(SEVERITIES)


def agreement(other: Corrupt, image_HWC: np.ndarray[Any, Any], name: str) -> str:
    """How alike both are, over the severities."""
    clean = image_HWC.astype(float)
    pairs = [
        (ours(image_HWC, name, s, turn).astype(float), other(image_HWC, name, s, turn).astype(float))
        for s in SEVERITIES
        for turn in range(1 if name in FIXED or name == "glass_blur" else 6)
    ]
    if name in FIXED:
        apart = [np.abs(a - b) for a, b in pairs]
        return f"differ by {np.mean(apart):.2f} of 255, at most {np.max(apart):.0f}"
    moved = [np.mean([np.abs(one - clean).mean() for one in both]) for both in zip(*pairs, strict=True)]
    return f"move by {moved[0]:.1f} and {moved[1]:.1f} of 255"


def compare(other: Corrupt | None, image_HWC: np.ndarray[Any, Any], rounds: int) -> bool:
    """Prints a line a corruption and the means, and whether the limit is kept."""
    taken: dict[str, dict[str, float]] = {}
    for name in COMMON + EXTRA:
        works = {"ours": ours, **({} if other is None else {"peer": other})}
        for work in works.values():
            seconds(work, image_HWC, name, 0)  # the first call draws panes, fills caches
        found: dict[str, list[float]] = {key: [] for key in works}
        for turn in range(rounds):
            for key, work in works.items():
                found[key].append(seconds(work, image_HWC, name, turn))
        taken[name] = {key: float(np.median(times)) for key, times in found.items()}
        print(line(name, taken[name], "" if other is None else agreement(other, image_HWC, name)), flush=True)
    mean = {key: float(np.mean([taken[name][key] for name in COMMON])) for key in taken[COMMON[0]]}
    print(line("mean of the 15", mean, f"limit {LIMIT}"))
    if other is None:
        return True
    rest = [name for name in COMMON if name != "glass_blur"]
    without = {key: float(np.mean([taken[name][key] for name in rest])) for key in mean}
    print(line("without glass_blur", without, "a loop in Python over the pixels there"))
    return mean["ours"] <= LIMIT * mean["peer"]


def line(name: str, taken: dict[str, float], note: str) -> str:
    ratio = (
        f"   peer {1000 * taken['peer']:8.2f} ms   ratio {taken['ours'] / taken['peer']:6.3f}"
        if "peer" in taken
        else ""
    )
    return f"{name:18s} ours {1000 * taken['ours']:7.2f} ms{ratio}   {note}".rstrip()


def main() -> int:
    """Exit code 0 when the limit is kept, or there is no peer to compare with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", help="an RGB picture; one is drawn without it")
    parser.add_argument("--px", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    image_HWC = drawn(args.px)
    if args.picture:
        image_HWC = np.asarray(Image.open(args.picture).convert("RGB").resize((args.px, args.px)))
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, OpenCV {cv2.__version__}"
    what = f"{args.px} px, {args.picture or 'a drawn picture'}"
    print(f"{platform.machine()}, one core, {versions}, {what}, {time.strftime('%Y-%m-%d')}")
    other = peer()
    if other is None:
        print("imagecorruptions is not installed here, so there is nothing to compare with; to install it:")
        print("\n".join(text for text in (__doc__ or "").splitlines() if "peer/bin" in text or "-m venv" in text))
    return 0 if compare(other, image_HWC, args.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
