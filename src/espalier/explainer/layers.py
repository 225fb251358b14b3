"""The layers of a torch model by name, and whatever they give as maps: channels first, by rule and not by name.

Encoders give maps channels first (convolutions), channels last (GC-ViT, Swin) or as a row of tokens, with or without
tokens of no place before them (ViT). Which it is follows from the shape and from the size of the input: a map's height
and width are to each other as the input's are.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from espalier.errors import Problem, UsageError
from espalier.layers.model import TrainableModel

MOST_PREFIX_TOKENS = 8


@dataclass(frozen=True)
class Layout:
    """Where a map's axes lie in a tensor (B first); `prefix` tokens come before those that have a place."""

    kind: Literal["channels first", "channels last", "tokens"]
    grid_hw: tuple[int, int]
    prefix: int = 0

    def maps(self, tensor: Tensor) -> Tensor:
        """(B, C, h, w)."""
        if self.kind == "channels first":
            return tensor
        if self.kind == "channels last":
            return tensor.permute(0, 3, 1, 2)
        placed_BCN = tensor[:, self.prefix :].transpose(1, 2)
        return placed_BCN.reshape(*placed_BCN.shape[:2], *self.grid_hw)


@dataclass(frozen=True)
class Layer:
    """A module that ran: its dotted name, its class, what it gave, and how that is a map; None when it is none."""

    name: str
    kind: str
    shape: tuple[int, ...]
    layout: Layout | None

    @property
    def words(self) -> str:
        """Such as '512 × 7 × 7' for a map, or '(1, 512), no map'."""
        if self.layout is None:
            return f"{self.shape}, no map"
        channels = self.shape[1] if self.layout.kind == "channels first" else self.shape[-1]
        height, width = self.layout.grid_hw
        told = "" if self.layout.kind == "channels first" else f", {self.layout.kind}"
        before = f" after {self.layout.prefix} without a place" if self.layout.prefix else ""
        return f"{channels} × {height} × {width}{told}{before}"


def layout_of(shape: Sequence[int], input_hw: tuple[int, int]) -> Layout | None:
    """How a tensor of that shape is a map of one input of that size, or None. (Windows come as a batch: no map.)"""
    if shape[0] != 1:
        return None
    if len(shape) == 4:
        found = [
            (_mismatch((shape[2], shape[3]), input_hw), 0, Layout("channels first", (shape[2], shape[3]))),
            (_mismatch((shape[1], shape[2]), input_hw), 1, Layout("channels last", (shape[1], shape[2]))),
        ]
        fitting = sorted((m, place) for m, place, _ in found if m is not None)
        return found[fitting[0][1]][2] if fitting else None
    return _tokens(shape[1], input_hw) if len(shape) == 3 else None


def _tokens(count: int, input_hw: tuple[int, int]) -> Layout | None:
    """The fewest tokens without a place that leave a grid of the input's proportions."""
    for prefix in range(min(MOST_PREFIX_TOKENS, count - 1) + 1):
        placed = count - prefix
        middle = round((placed * input_hw[0] / input_hw[1]) ** 0.5)
        for height in (middle, middle - 1, middle + 1):
            if height < 1 or placed % height:
                continue
            mismatch = _mismatch((height, placed // height), input_hw)
            if mismatch is not None and mismatch <= 0.5:
                return Layout("tokens", (height, placed // height), prefix)
    return None


def _mismatch(grid_hw: tuple[int, int], input_hw: tuple[int, int]) -> float | None:
    """How far the grid is from the input's proportions, in cells; None when it can't be a map of it.

    A map is as large as the input or at most half of it (a cell more, for rounding), which an attention matrix is not.
    """
    (height, width), (rows, columns) = grid_hw, input_hw
    if grid_hw == input_hw:
        return 0.0
    if height * width < 2 or 2 * height > rows + 2 or 2 * width > columns + 2:
        return None
    mismatch = abs(height * columns - width * rows) / max(rows, columns)
    return mismatch if mismatch <= 1.5 else None


@dataclass
class Recorded:
    """What a model gave of one picture: its outputs, its layers in the order in which they were done, kept tensors."""

    outputs: Mapping[str, Tensor]
    layers: list[Layer]
    tensors: dict[str, Tensor]


def record(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    input_hw: tuple[int, int],
    *,
    keep: Callable[[str], bool] = lambda name: False,
) -> Recorded:
    """One forward pass; the tensors of the layers that `keep` names are kept as they are on the graph of gradients.

    Of a layer that runs several times the last time counts.
    """
    found: dict[str, Layer] = {}
    tensors: dict[str, Tensor] = {}

    def note(name: str, module: nn.Module, tensor: Tensor) -> None:
        layout = layout_of(tensor.shape, input_hw) if tensor.is_floating_point() else None
        found.pop(name, None)
        found[name] = Layer(name, type(module).__name__, tuple(tensor.shape), layout)
        if keep(name):
            tensors[name] = tensor if tensor.requires_grad else tensor.clone()  # a later layer may write over it

    with watching(model, note):
        outputs = model(**inputs)
    return Recorded(outputs, list(found.values()), tensors)


def with_gradients(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the inputs that gradients are kept of; whole numbers, such as sizes, have none."""
    return {name: tensor.detach().clone().requires_grad_(tensor.is_floating_point()) for name, tensor in inputs.items()}


@contextmanager
def watching(model: nn.Module, seen: Callable[[str, nn.Module, Tensor], None]) -> Iterator[None]:
    """Inside, `seen` is told each module and the tensor that it gave (of several the last), as they are done."""

    def hook(name: str) -> Callable[..., None]:
        def told(module: nn.Module, args: Any, output: Any) -> None:
            tensor = _tensor(output)
            if tensor is not None:
                seen(name, module, tensor)

        return told

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensor(output: Any) -> Tensor | None:
    """The tensor that a module gave; of a list (a pyramid's maps) the last."""
    while isinstance(output, (list, tuple)) and output:
        output = output[-1]
    return output if isinstance(output, Tensor) and output.ndim > 0 else None


def in_encoder(model: nn.Module, found: Sequence[Layer]) -> list[Layer]:
    """The layers that give maps, of the encoder as the model itself names it; of the whole where it names none."""
    groups: Mapping[str, Sequence[str]] = model.parameter_groups() if isinstance(model, TrainableModel) else {}
    prefixes = tuple(groups.get("backbone", ()))
    maps = [layer for layer in found if layer.layout is not None]
    return [layer for layer in maps if f"{layer.name}.".startswith(prefixes)] or maps


def chosen(found: Sequence[Layer], name: str) -> Layer:
    """The layer of that name. Raises UsageError, with names that are close, for one unknown or without a map."""
    maps = [layer.name for layer in found if layer.layout is not None]
    layer = next((layer for layer in found if layer.name == name), None)
    if layer is not None and layer.layout is not None:
        return layer
    what = f"there is no layer '{name}'" if layer is None else f"the layer '{name}' gives {layer.words}"
    close = difflib.get_close_matches(name, maps, n=3, cutoff=0.4) or [m for m in maps if m.startswith(f"{name}.")][-3:]
    near = f"close to it: {', '.join(close)}" if close else f"the last one: {maps[-1]}" if maps else "there is none"
    expected = f"one of the {len(maps)} layers that give a map; {near}"
    raise UsageError(Problem("explain.layer", what, expected, "espalier explain MODEL --layers lists them"))
