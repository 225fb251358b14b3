"""The verbs. Each is written once, for every network; CLI, Python, REST and the page are all made from this table.

Importing this module imports nothing else: `espalier --help` must be quick.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Positional:
    """An argument by position and the spec field that it fills; `many` takes one or more, `optional` none or one.

    `takes` is 'module:function', fn(word) -> bool: after its first word, the argument has only those that this knows
    as its own, and the next argument has the rest.
    """

    name: str
    field: str
    help: str
    many: bool = False
    optional: bool = False
    takes: str = ""


@dataclass(frozen=True)
class Action:
    """A verb. `run` is 'module:function', fn(spec: Spec, run: Run) -> result; `section` is its spec section.

    `from_spec`: its first argument is a spec file, and a network is needed. `extra`: what must be installed.
    `trains`: it builds a network, so the flags of the network's fields are its too.
    `reads`: what it takes from the sections of other verbs; values set elsewhere in them warn.
    `writes_run` is False where the verb writes no run folder unless `--out` is given; `asks` are fields that make it
    but answer a question, whose result is printed whole and which writes none either.
    """

    name: str
    help: str
    run: str
    section: str
    positionals: tuple[Positional, ...] = ()
    from_spec: bool = False
    extra: str | None = None
    writes_run: bool = True
    asks: tuple[str, ...] = ()
    resumable: bool = False
    trains: bool = False
    reads: tuple[str, ...] = ()


ACTIONS: tuple[Action, ...] = (
    Action(
        "fit",
        "Your photographs in, a verified bundle and a report out",
        "espalier.actions.fit:fit",
        "fit",
        (Positional("PHOTOS", "fit.photos", "a folder with a folder for each class, a CSV or a COCO file"),),
        extra="train",
        trains=True,
        reads=("train", "evaluate.batch_size", "evaluate.bootstrap", "evaluate.pictures", "export"),
    ),
    Action(
        "train",
        "Train a network by a spec",
        "espalier.actions.train:train",
        "train",
        from_spec=True,
        extra="train",
        resumable=True,
        trains=True,
        reads=("evaluate.bootstrap", "evaluate.pictures"),
    ),
    Action(
        "evaluate",
        "Score a model, with intervals",
        "espalier.actions.evaluate:evaluate",
        "evaluate",
        (
            Positional("MODEL", "evaluate.model", "a run, a checkpoint folder, a bundle folder or zip"),
            Positional("DATA", "evaluate.data", "labelled pictures", optional=True),
        ),
    ),
    Action(
        "compare",
        "Better, worse, or can't tell: models on the same pictures",
        "espalier.actions.compare:compare",
        "compare",
        (Positional("MODEL", "compare.models", "two or more models", many=True),),
    ),
    Action(
        "predict",
        "Run a model on pictures, videos and streams",
        "espalier.actions.predict:predict",
        "predict",
        (
            Positional("MODEL", "predict.model", "a run, a checkpoint folder, a bundle folder or zip"),
            Positional(
                "IMAGES",
                "predict.images",
                "pictures, videos, folders, globs, cameras, URLs, or - for a pipe",
                many=True,
            ),
        ),
    ),
    Action(
        "explain",
        "Show what in a picture made the answer, and how far to trust that",
        "espalier.actions.explain:explain",
        "explain",
        (
            Positional(
                "MODEL",
                "explain.models",
                "a run, a checkpoint folder, a bundle folder or zip; several are shown side by side",
                many=True,
                takes="espalier.actions.models:is_model",
            ),
            Positional("IMAGES", "explain.images", "files, folders, globs or URLs", many=True, optional=True),
        ),
        asks=("explain.layers",),
    ),
    Action(
        "export",
        "Make a bundle and prove that it says the same",
        "espalier.actions.export:export",
        "export",
        (Positional("MODEL", "export.model", "a run or a checkpoint folder"),),
        extra="train",
    ),
    Action(
        "verify",
        "Prove a bundle against its golden outputs",
        "espalier.actions.verify:verify",
        "verify",
        (Positional("BUNDLE", "verify.bundle", "a bundle folder or zip"),),
        writes_run=False,
    ),
    Action(
        "reproduce",
        "A published model trained or evaluated as its authors did, their figures beside ours",
        "espalier.actions.reproduce:reproduce",
        "reproduce",
        (Positional("NAME", "reproduce.name", "a published result, such as dino_r50_4scale_12ep"),),
        extra="train",
        reads=("train", "evaluate.batch_size", "evaluate.bootstrap", "evaluate.pictures"),
    ),
    Action(
        "report",
        "Write a run's page",
        "espalier.actions.report:report",
        "report",
        (Positional("RUN", "report.run", "a run folder"),),
        writes_run=False,
    ),
)


def get(name: str) -> Action | None:
    """The action of that name, or None."""
    return next((action for action in ACTIONS if action.name == name), None)
