"""The verbs as Python functions, and the one `call` that these, the command line and a service go through."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from espalier.actions import ACTIONS, Action, extras, get, unread
from espalier.errors import InputError, InterruptedByUser, MissingExtraError, UsageError
from espalier.networks.registry import entry
from espalier.runs.run import Run
from espalier.spec.dump import to_yaml
from espalier.spec.effects import value_at
from espalier.spec.load import load_spec
from espalier.spec.sections import Spec

PathLike = str | os.PathLike[str]
SpecSource = PathLike | Mapping[str, Any]
Overrides = Sequence[str] | Mapping[str, Any]
Watch = Callable[[Run], AbstractContextManager[None]]

_BOOKKEEPING = frozenset({"run.json", "events.jsonl", "spec.yaml"})


def call(
    name: str,
    positionals: Mapping[str, Any],
    *,
    spec: SpecSource | None = None,
    out: PathLike | None = None,
    overrides: Overrides = (),
    resume: PathLike | None = None,
    watch: Watch = lambda run: nullcontext(),
) -> dict[str, Any]:
    """Runs a verb and returns its result (JSON data; with `run`, the folder, where one was written).

    `positionals` fills spec fields by dotted name. `resume` is the folder of an interrupted run; its own spec.yaml is
    taken when no `spec` is given. `watch` is entered with the run while the verb works.
    Raises EspalierError: SpecError, MissingExtraError, RunExistsError, and what the verb itself raises.
    """
    action = _action(name)
    extras.require(action.extra, f"espalier {name}")
    out = _folder(action, out, resume)
    if resume is not None and spec is None and action.from_spec:
        spec = Path(resume) / "spec.yaml"
    checked = load_spec(
        os.fspath(spec) if isinstance(spec, os.PathLike) else spec,
        overrides=overrides,
        positionals=positionals,
        lookup=entry,
        network_needed=action.from_spec,
    )
    with _run(action, checked, out, resume=resume is not None) as run, watch(run):
        return _work(action, checked, run, resumed=resume is not None)


def fit(
    photos: PathLike, *, out: PathLike | None = None, overrides: Overrides | None = None, progress: bool = True
) -> dict[str, Any]:
    """Your photographs in, a verified bundle and a report out. Takes what `espalier fit` takes."""
    return _call("fit", {"fit.photos": photos}, out=out, overrides=overrides, progress=progress)


def train(
    spec: SpecSource | None = None,
    *,
    out: PathLike | None = None,
    overrides: Overrides | None = None,
    resume: PathLike | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains the network of a spec: a YAML file, or nested values. `resume` goes on with an interrupted run."""
    return _call("train", {}, spec=spec, out=out, overrides=overrides, resume=resume, progress=progress)


def evaluate(
    model: PathLike,
    data: PathLike | None = None,
    *,
    out: PathLike | None = None,
    overrides: Overrides | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """The scores of a run, checkpoint or bundle, with intervals."""
    values = {"evaluate.model": model} | ({} if data is None else {"evaluate.data": data})
    return _call("evaluate", values, out=out, overrides=overrides, progress=progress)


def compare(
    *models: PathLike,
    data: PathLike | None = None,
    out: PathLike | None = None,
    overrides: Overrides | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Better, worse, or can't tell: each model against the first, on the same pictures."""
    values = {"compare.models": models} | ({} if data is None else {"compare.data": data})
    return _call("compare", values, out=out, overrides=overrides, progress=progress)


def predict(
    model: PathLike,
    images: PathLike | Sequence[PathLike],
    *,
    out: PathLike | None = None,
    overrides: Overrides | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Predictions for pictures, videos, folders, globs or URLs, written to the run as they come.

    For arrays, and to take each answer in Python: `espalier.load(model).predict` and `.stream`.
    """
    many = (images,) if isinstance(images, (str, os.PathLike)) else tuple(images)
    values = {"predict.model": model, "predict.images": many}
    return _call("predict", values, out=out, overrides=overrides, progress=progress)


def explain(
    *models: PathLike,
    images: PathLike | Sequence[PathLike] = (),
    out: PathLike | None = None,
    overrides: Overrides | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """What in each picture made the answer, and how far to trust that. Several models are shown side by side."""
    many = (images,) if isinstance(images, (str, os.PathLike)) else tuple(images)
    values = {"explain.models": models} | ({"explain.images": many} if many else {})
    return _call("explain", values, out=out, overrides=overrides, progress=progress)


def export(
    model: PathLike, *, out: PathLike | None = None, overrides: Overrides | None = None, progress: bool = True
) -> dict[str, Any]:
    """A bundle of a run or checkpoint, proven to say the same."""
    return _call("export", {"export.model": model}, out=out, overrides=overrides, progress=progress)


def verify(
    bundle: PathLike, *, out: PathLike | None = None, overrides: Overrides | None = None, progress: bool = True
) -> dict[str, Any]:
    """The proof that a bundle on this machine still gives its golden outputs."""
    return _call("verify", {"verify.bundle": bundle}, out=out, overrides=overrides, progress=progress)


def reproduce(
    name: str,
    *,
    coco: PathLike | None = None,
    weights: PathLike | None = None,
    eval_only: bool = False,
    out: PathLike | None = None,
    overrides: Overrides | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """A published model trained, or with `eval_only` its `weights` evaluated, and the published figures beside ours."""
    given = {"name": name, "eval_only": eval_only, "coco": coco, "weights": weights}
    values = {f"reproduce.{key}": value for key, value in given.items() if value is not None}
    return _call("reproduce", values, out=out, overrides=overrides, progress=progress)


def report(
    run: PathLike, *, out: PathLike | None = None, overrides: Overrides | None = None, progress: bool = True
) -> dict[str, Any]:
    """The page of a run."""
    return _call("report", {"report.run": run}, out=out, overrides=overrides, progress=progress)


def on_stream(run: Run) -> AbstractContextManager[None]:
    """Shows the run's events on standard error while it works."""
    from espalier.runs.console import show

    return show(run, sys.stderr)


def _call(
    name: str,
    positionals: Mapping[str, Any],
    *,
    out: PathLike | None,
    overrides: Overrides | None,
    progress: bool,
    spec: SpecSource | None = None,
    resume: PathLike | None = None,
) -> dict[str, Any]:
    """`call`, with what every function above takes."""
    return call(
        name,
        positionals,
        spec=spec,
        out=out,
        overrides=() if overrides is None else overrides,
        resume=resume,
        watch=on_stream if progress else lambda run: nullcontext(),
    )


def _action(name: str) -> Action:
    action = get(name)
    if action is None:
        raise UsageError(f"there is no verb '{name}'; the verbs are: {', '.join(a.name for a in ACTIONS)}")
    return action


def _folder(action: Action, out: PathLike | None, resume: PathLike | None) -> Path | None:
    """The folder to write, or None for the next free one. Raises UsageError when the wishes contradict."""
    if resume is None:
        return None if out is None else Path(out)
    if not action.resumable:
        raise UsageError(f"'{action.name}' can't go on with an interrupted run; run it again")
    if out is not None and Path(out) != Path(resume):
        raise UsageError(f"--resume goes on in {resume}, so it can't write to {out}; leave out --out")
    if not (Path(resume) / "run.json").exists():
        raise UsageError(f"{resume} is not a run that could be resumed; start it with --out {resume}")
    return Path(resume)


@contextmanager
def _run(action: Action, spec: Spec, out: Path | None, *, resume: bool) -> Iterator[Run]:
    """The run to write to; nowhere for a verb that writes none, and for all but the first of torchrun's processes."""
    name = action.name if spec.name == "auto" else spec.name
    folder_was_there = out is not None and out.exists()
    if os.environ.get("RANK", "0") != "0":
        run = _run_beside(action, out if resume else None)
    elif out is not None or (action.writes_run and not any(value_at(spec, field) for field in action.asks)):
        run = Run.create(name, out=out, action=action.name, resume=resume)
    else:
        run = Run.nowhere(action.name)
    try:
        with run:
            yield run
    except (InputError, MissingExtraError):
        if run.kept and not resume:
            _withdraw(run.path, keep_folder=folder_was_there)
        raise


def _withdraw(path: Path, *, keep_folder: bool) -> None:
    """Takes back a run that wrong input, or a missing part of Espalier, ended before anything was made: the same
    command, corrected, finds room."""
    files = list(path.iterdir()) if path.is_dir() else []
    if {file.name for file in files} <= _BOOKKEEPING:
        for file in files:
            file.unlink()
        if not keep_folder:
            path.rmdir()


def _run_beside(action: Action, resumed: Path | None) -> Run:
    """What another process than the first writes to: nowhere, yet with the checkpoints of the run that goes on."""
    run = Run.nowhere(action.name)
    if resumed is not None:
        (run.path / "checkpoints").symlink_to(resumed.absolute() / "checkpoints", target_is_directory=True)
        run.record = run.record.model_copy(update={"resumed": 1})
    return run


def _work(action: Action, spec: Spec, run: Run, *, resumed: bool) -> dict[str, Any]:
    if not resumed:
        run.write_spec(to_yaml(spec))
        for line in unread.warnings(action, spec):
            run.warn(line)
    run.note(seed=spec.seed)
    module, _, function = action.run.partition(":")
    with extras.named(f"espalier {action.name}"), _interruptible():
        result: dict[str, Any] = getattr(importlib.import_module(module), function)(spec, run)
    if run.state == "running":
        result = run.finish(result)
    return {**result, "run": str(run.path)} if run.kept else result


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C as the house's own error, where the verb didn't already say what it saved."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise InterruptedByUser("interrupted") from error
