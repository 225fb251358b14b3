"""How `resolve` fills what is otherwise for detectors with object queries."""

from __future__ import annotations

from espalier.spec.facts import Facts
from espalier.spec.sections import Spec

SIZE_HW = (640, 640)


def fit(spec: Spec, facts: Facts) -> tuple[str, str]:
    """The whole picture in its shape: nothing that is labelled may be cropped away."""
    return "letterbox", "objects at the edges count too"


def size_hw(spec: Spec, facts: Facts) -> tuple[tuple[int, int], str]:
    """A common size for detectors, since objects are smaller than pictures."""
    return SIZE_HW, "a common size for detectors; smaller is quicker, larger finds smaller objects"


def lr(spec: Spec, facts: Facts) -> tuple[float, str]:
    """2e-4 for 16 pictures a step (Deformable DETR, DINO), scaled by the root."""
    train = spec.train
    batch = train.batch_size if isinstance(train.batch_size, int) else 1
    devices = train.devices if isinstance(train.devices, int) else 1
    pictures = batch * train.accumulate * devices
    return float(f"{2e-4 * (pictures / 16) ** 0.5:.3g}"), f"2e-4 for 16 pictures a step, {pictures} here"


def batch_size(spec: Spec, facts: Facts) -> tuple[int, str]:
    """Few: a detector's pictures are large, and more steps matter more than large ones."""
    fits = facts.batch_fits if facts.batch_fits is not None else 4
    few = max(1, facts.n_train // 4) if facts.n_train else 4
    chosen = max(1, min(4, fits, few))
    return chosen, "the usual for detectors on one device" if chosen == 4 else "so few pictures or so little memory"


def epochs(spec: Spec, facts: Facts) -> tuple[int, str]:
    """Enough passes to see some 30,000 pictures, since queries learn slowly."""
    if facts.n_train == 0:
        return 50, "the usual; the number of pictures is not known"
    return min(max(round(30_000 / facts.n_train), 12), 300), f"{facts.n_train} pictures"


RULES = {
    "network.input.fit": fit,
    "network.input.size_hw": size_hw,
    "train.lr": lr,
    "train.batch_size": batch_size,
    "train.epochs": epochs,
}
