"""How scored pictures weigh, group and pair, and intervals that stay honest near 0 and 100 %: for every task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Figure
from espalier.tasks import intervals

FEW_OTHERS = 5  # with fewer pictures right, or wrong, than this a bootstrap of a proportion is too narrow


@dataclass(frozen=True)
class Pictures:
    """The rows that were scored. A picture scored several times (repeated k-fold) counts once: its rows' mean."""

    names: tuple[str, ...]
    groups: tuple[str, ...]

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """(N,) how often each row's picture was scored."""
        count = Counter(self.names)
        return np.asarray([count[name] if name else 1 for name in self.names], np.int64)

    @cached_property
    def weight_N(self) -> NDArray[np.float64]:
        """(N,) what each row counts; a picture's rows add up to 1."""
        return 1.0 / self.times

    @cached_property
    def unit_N(self) -> NDArray[np.int64]:
        """(N,) the unit that intervals resample: the group, or the picture."""
        keys = [
            f"group {group}" if group else f"picture {name}" if times > 1 else ""
            for name, group, times in zip(self.names, self.groups, self.times, strict=True)
        ]
        return intervals.units(keys, len(keys))

    @property
    def count(self) -> int:
        """Pictures."""
        return round(float(self.weight_N.sum()))

    @property
    def unit_count(self) -> int:
        """Units that are resampled."""
        return int(self.unit_N.max()) + 1 if len(self.unit_N) else 0

    @property
    def unit_word(self) -> str:
        """What is resampled, in words."""
        grouped = any(group not in ("", name) for name, group in zip(self.names, self.groups, strict=True))
        return "groups of pictures" if grouped else "pictures"


@dataclass(frozen=True)
class Interval:
    """An interval, or none, and what must be said about it."""

    low: float | None = None
    high: float | None = None
    note: str = ""

    def figure(self, name: str, value: float, unit: str) -> Figure:
        """The figure that has this interval."""
        return Figure(name, value, self.low, self.high, unit, self.note)


def percentile(values_B: NDArray[np.float64]) -> Interval:
    """The middle 95 % of the resamples."""
    low, high = intervals.percentiles(values_B)
    return Interval(float(low), float(high)) if np.isfinite([low, high]).all() else Interval()


def centred(values_B: NDArray[np.float64], value: float) -> Interval:
    """The middle 95 % after the resamples are moved so that their mean is the value: resampling shifts the figure."""
    if not np.isfinite(values_B).any():
        return Interval()
    low, high = intervals.percentiles(values_B - float(np.nanmean(values_B)) + value)
    note = "resampling shifts this figure; the interval is moved back by that much"
    return Interval(max(0.0, float(low)), float(high), note)


def proportion(values_B: NDArray[np.float64], value: float, pictures: Pictures) -> Interval:
    """The bootstrap's interval of a share, or Wilson's where nearly all pictures agree and that is too narrow."""
    units = pictures.unit_count
    if FEW_OTHERS <= value * units <= units - FEW_OTHERS:
        return percentile(values_B)
    low, high = intervals.wilson(value * units, units)
    return Interval(
        low, high, f"Wilson's interval over {units} {pictures.unit_word}: a bootstrap is too narrow near 0 and 100 %"
    )


def mean_of_shares(
    values_B: NDArray[np.float64], value: float, rights: Sequence[float], alls: Sequence[float]
) -> Interval:
    """The bootstrap's interval of a mean over classes; where it collapses, the mean of their Wilson intervals."""
    found = percentile(values_B)
    if found.low is None or found.high is None:
        return found
    if found.high - found.low > 1e-9:
        return found if found.low <= value <= found.high else centred(values_B, value)
    pairs = [intervals.wilson(right, n) for right, n in zip(rights, alls, strict=True) if n > 0]
    low, high = np.mean(pairs, axis=0)
    return Interval(
        min(float(low), value),
        max(float(high), value),
        "the mean of the classes' Wilson intervals: every resample is alike, so a bootstrap says nothing",
    )
