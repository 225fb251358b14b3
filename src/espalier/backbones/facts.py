"""What is known of a backbone by its name: its sizes, and the input that its published weights were measured with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BackboneFacts:
    """The facts of one encoder. Levels go from fine to coarse; sizes are height first, in pixels."""

    name: str  # with the weights' tag when one was asked for
    params: int  # of the encoder that gives the embedding, without the published classifier
    channels: tuple[int, ...]  # of the pyramid's levels
    strides: tuple[int, ...]
    feature_channels: int  # of the last map
    feature_stride: int
    embedding: int  # values of the pooled vector that the published classifier sees
    size_hw: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: str
    fit: str
    crop_fraction: float
    fixed_size: bool = False  # another input size needs the encoder to be built for it
    smallest_px: int = 1  # the shortest side of an input that it takes
    dense_channels: tuple[int, ...] = ()  # of the maps that published dense models see, () where it is the pyramid
    dense_strides: tuple[int, ...] = ()
