"""The commands of `espalier data`, as a table that imports nothing else."""

from __future__ import annotations

from espalier.commands import Argument, Command

_PATH = Argument(
    "PATH",
    "a folder for each class, masks beside pictures, a CSV, a COCO, YOLO, VOC, KITTI, CVAT or Label Studio data set; a "
    "zip of one",
)
_PATHS = Argument("PATHS", "data sets; several become train, val, test by their names or order", many=True)
_OUT = Argument("OUT", "the folder to write; it must not be there yet, or be empty")
_FORMAT = Argument("--format", "the format of PATH by name; auto looks", default="auto")
_IMAGES = Argument("--images", "the folder that paths in a label file are relative to, when it is not the file's own")
_GROUP = Argument(
    "--group", "what belongs together: a CSV column, or a regular expression over the path with one group"
)
_TO = Argument(
    "--to", "what to write: folders, csv, coco, yolo, voc, kitti, cvat, label_studio; PATH's own format without it"
)
_PICTURES = Argument(
    "--pictures", "copy them, or write their present paths", choices=("copy", "reference"), default="copy"
)
_READING = (_FORMAT, _IMAGES, _GROUP)
_WRITING = (_TO, _PICTURES)

DATA_COMMANDS: tuple[Command, ...] = (
    Command("check", "Find what is wrong with a data set, and what to do about it; exit code 1 when there are errors",
            "espalier.data.commands:check",
            (_PATHS, Argument("--fix", "write a corrected copy into this folder"),
             Argument("--out", "also write the findings as an HTML page into this file"),
             Argument("--max-pixels", "a larger picture is an error, as data.max_pixels makes it in training",
                      "integer", default=300_000_000), *_READING)),
    Command("stats", "Count pictures, classes and sizes", "espalier.data.commands:stats",
            (_PATHS, Argument("--out", "write an HTML page with plots into this file"), *_READING)),
    Command("split", "Cut a data set into train, val and test, groups and near-duplicates kept together",
            "espalier.data.commands:split",
            (_PATH, _OUT, Argument("--val", "share of the validation set", "number", default=0.2),
             Argument("--test", "share of the test set", "number", default=0.0),
             Argument("--seed", "seed of the draw", "integer", default=0),
             Argument("--ignore-near-duplicates", "let near-duplicates fall on different sides", "switch"),
             *_READING, *_WRITING)),
    Command("convert", "Write a data set in another format, telling every loss", "espalier.data.commands:convert",
            (_PATH, _OUT, *_READING, *_WRITING)),
    Command("merge", "Put data sets together; classes with the same name are one", "espalier.data.commands:merge",
            (Argument("PATHS", "two or more data sets", many=True),
             Argument("--into", "the folder to write; it must not be there yet, or be empty", required=True),
             Argument("--complete", "each set was labelled for the classes of all; without it a set's pictures are "
                      "unlabelled for classes that it doesn't have", "switch"),
             *_READING, *_WRITING)),
    Command("filter", "Keep some classes or boxes", "espalier.data.commands:filter_labels",
            (_PATH, _OUT, Argument("--classes", "class names to keep", many=True),
             Argument("--without", "class names to leave out", many=True),
             Argument("--smallest", "least side of a box, px", "number", default=0.0),
             Argument("--no-crowd", "leave crowd annotations out", "switch"),
             Argument("--labelled-only", "leave out pictures without a label", "switch"), *_READING, *_WRITING)),
    Command("remap", "Rename classes; two that get the same name become one", "espalier.data.commands:remap",
            (_PATH, _OUT, Argument("--names", "old: new for each class, e.g. '{car: vehicle, lorry: vehicle}'", "yaml",
                                   required=True), *_READING, *_WRITING)),
)  # fmt: skip
