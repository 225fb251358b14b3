"""What `resolve` is told of the machine, the data and the backbone.

The rooms that know fill these in; nothing is probed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Hardware:
    """The machine. `memory_mb` and `name` are of one device of the best kind; `available` is empty where not known."""

    device: str = "cpu"  # cuda | mps | cpu: the best there is
    devices: int = 1  # how many of them
    name: str = "cpu"
    cpu_cores: int = 1  # that this process may use
    memory_mb: int | None = None
    bf16: bool = False  # does the device compute in bf16 at speed?
    available: tuple[str, ...] = ()
    world_size: int | None = None  # set when started by torchrun


class InputFacts(Protocol):
    """What is needed of a backbone (`BackboneFacts`): its size, and the input that its weights were measured with."""

    @property
    def name(self) -> str: ...
    @property
    def params(self) -> int: ...
    @property
    def size_hw(self) -> tuple[int, int]: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...
    @property
    def resample(self) -> str: ...
    @property
    def fit(self) -> str: ...
    @property
    def crop_fraction(self) -> float: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    @property
    def smallest_px(self) -> int: ...


@dataclass(frozen=True)
class TileFacts:
    """What the training set comes to as tiles."""

    count: int  # in an epoch
    most_labels: int  # in one tile


@dataclass(frozen=True)
class Facts:
    """Everything that a choice may depend on. Zero, empty or None is "not known"."""

    hardware: Hardware = field(default_factory=Hardware)
    n_train: int = 0
    n_val: int = 0
    classes: tuple[str, ...] = ()  # of the data, in its order
    class_counts: tuple[int, ...] = ()  # pictures of each class in the training set
    class_pixels: Callable[[], tuple[int, ...]] | None = None  # labelled pixels of each class, where labels are pixels
    most_labels: int = 0  # in one picture
    multi_label: bool | None = None  # has some picture several labels, or none while others have one?
    median_size_hw: tuple[int, int] | None = None
    bands: int = 3  # of the pictures, most common
    bits: int = 8  # of a pixel's value, most common
    used_bits: int = 0  # of more than 8, those that the pictures' values need
    data_format: str = ""  # what `auto` found
    monitor: str = ""  # the task's headline figure
    median_object_px: float = 0.0  # the root of half of the objects' area is this or less
    large_object_px: float = 0.0  # the longer side of 95 % of the objects is this or less
    joins_tiles: bool = False  # can what the task says of tiles be joined to an answer about the picture?
    tiles: Callable[[int, float], TileFacts] | None = None  # by tile_px and tile_overlap
    backbone: InputFacts | None = None
    pretrained: bool = True  # do the backbone's weights come from somewhere?
    batch_fits: int | None = None  # largest batch that a memory probe found to fit one device
