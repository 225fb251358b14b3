"""Fields that a user set and that have no effect on the chosen path, so that `resolve` can say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from espalier.spec.sections import InputSpec, Spec


@dataclass(frozen=True)
class Idle:
    """`field` does nothing where `when` holds (of the resolved spec), for the reason `because`."""

    field: str
    when: Callable[[Spec], bool]
    because: str


def _mixes(spec: Spec) -> bool:
    return max(spec.train.augment.mixup, spec.train.augment.cutmix, spec.train.augment.mosaic) > 0


def _crops(spec: Spec) -> bool:
    augment = spec.train.augment
    return augment.scale != (1.0, 1.0) or augment.crop > 0 or augment.jitter[1] > 1


def _input(spec: Spec) -> InputSpec:
    return spec.network.input if spec.network else InputSpec()


def _epochs(spec: Spec) -> float:
    return spec.train.epochs if isinstance(spec.train.epochs, int) else float("inf")


def _colourless(spec: Spec) -> bool:
    return _input(spec).channels in ("grey", "bands")


def _is_frozen(spec: Spec) -> bool:
    return any(prefix.rstrip(".") == "backbone" for prefix in spec.train.freeze)


IDLE: tuple[Idle, ...] = (
    Idle("train.step_epochs", lambda s: s.train.schedule != "step", "train.schedule is not step"),
    Idle("train.step_factor", lambda s: s.train.schedule != "step", "train.schedule is not step"),
    Idle("train.poly_power", lambda s: s.train.schedule != "poly", "train.schedule is not poly"),
    Idle(
        "train.final_lr_ratio",
        lambda s: s.train.schedule not in ("cosine", "poly"),
        "only the schedules cosine and poly use it",
    ),
    Idle("train.strategy", lambda s: s.train.devices == 1 and s.train.strategy != "single", "there is one device"),
    Idle("train.keep_classes", lambda s: s.train.start_from is None, "train.start_from is not set"),
    Idle("train.by_clock", lambda s: s.train.minutes is None, "train.minutes is not set"),
    Idle("train.patience_epochs", lambda s: s.train.patience_epochs >= _epochs(s), "training ends before"),
    Idle("train.backbone_lr_ratio", _is_frozen, "the backbone is frozen"),
    Idle("train.activation_checkpointing", _is_frozen, "the backbone is frozen"),
    Idle("train.augment.ratio", lambda s: s.train.augment.scale == (1.0, 1.0), "train.augment.scale is [1, 1]"),
    Idle("train.augment.off_last_epochs", lambda s: not _mixes(s), "none of mixup, cutmix and mosaic is on"),
    Idle("train.augment.crop", lambda s: s.train.augment.scale != (1.0, 1.0), "train.augment.scale crops already"),
    Idle("train.augment.crop_edges", lambda s: s.train.augment.crop == 0, "train.augment.crop is 0"),
    Idle("train.augment.crop_px", lambda s: s.train.augment.crop == 0, "train.augment.crop is 0"),
    Idle("train.augment.class_share", lambda s: not _crops(s), "none of scale, crop and jitter crops the pictures"),
    Idle(
        "train.augment.sizes",
        lambda s: _input(s).fit in ("stretch", "centre_crop"),
        "network.input.fit gives every picture the same size",
    ),
    Idle(
        "network.input.tile_overlap",
        lambda s: _input(s).tile_px == 0 and _input(s).tile_overlap != 0,
        "network.input.tile_px is 0",
    ),
    Idle("train.tile_background", lambda s: _input(s).tile_px == 0, "network.input.tile_px is 0"),
    Idle("train.augment.saturation", _colourless, "the pictures are not in colour"),
    Idle("train.augment.hue", _colourless, "the pictures are not in colour"),
    Idle("data.images", lambda s: s.data.format == "folders", "the folders hold the pictures themselves"),
    Idle("data.val_fraction", lambda s: s.data.val is not None, "data.val is given"),
    Idle(
        "network.backbone.download",
        lambda s: s.network is not None and s.network.backbone.weights == "none",
        "network.backbone.weights is none",
    ),
    Idle(
        "network.input.crop_fraction",
        lambda s: _input(s).fit != "centre_crop" and _input(s).crop_fraction != 1.0,
        "network.input.fit is not centre_crop",
    ),
)


def idle_fields(asked: Spec, resolved: Spec) -> list[tuple[str, Any, str]]:
    """(field, value, reason) of every field whose value is not its default and has no effect."""
    found = []
    for idle in IDLE:
        value = value_at(asked, idle.field)
        if value not in (default_at(asked, idle.field), "auto") and idle.when(resolved):
            found.append((idle.field, value, idle.because))
    if resolved.train.schedule == "step" and not resolved.train.step_epochs:
        found.append(("train.schedule", "step", "train.step_epochs is empty, so the rate never falls"))
    warmup = resolved.train.warmup_epochs
    if not isinstance(warmup, str) and 0 < _epochs(resolved) <= warmup:
        found.append(("train.warmup_epochs", warmup, "the warm-up lasts to the end of training"))
    return found


def value_at(spec: Any, path: str) -> Any:
    """The value of a dotted field; None below a section that is None."""
    for name in path.split("."):
        spec = getattr(spec, name, None)
    return spec


def default_at(spec: Any, path: str) -> Any:
    """The default of a dotted field."""
    parent, _, name = path.rpartition(".")
    section = value_at(spec, parent) if parent else spec
    return None if section is None else type(section).model_fields[name].get_default(call_default_factory=True)
