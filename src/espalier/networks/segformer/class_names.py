"""The class names of published segmenters, by the number of their rows."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import yaml

CITYSCAPES_ROWS = 19


@lru_cache(maxsize=1)
def data_sets() -> dict[str, tuple[str, ...]]:
    """The names of each data set that segmenters were published for, in the order of the rows."""
    text = resources.files(__package__).joinpath("class_names.yaml").read_text("utf-8")
    return {name: tuple(names) for name, names in yaml.safe_load(text).items()}


def class_names(rows: int) -> tuple[str, ...]:
    """The data set's names where one has as many classes, else class_0, class_1, …"""
    known = {len(names): names for names in data_sets().values()}
    return known.get(rows, tuple(f"class_{row}" for row in range(rows)))
