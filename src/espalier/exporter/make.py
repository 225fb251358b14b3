"""From a model to a bundle that was proven to say the same: graph, gate, golden set, manifest, proof of the copy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from espalier.backbones.backbone import Backbone
from espalier.bundle import golden as golden_files
from espalier.bundle.bundle import Bundle, record
from espalier.bundle.compare import Match
from espalier.bundle.golden import GoldenSet
from espalier.bundle.manifest import (
    Artifact,
    Decode,
    Golden,
    Licence,
    Manifest,
    Metric,
    Parity,
    Port,
    Provenance,
    Runtime,
)
from espalier.bundle.model_card import model_card
from espalier.bundle.steady import unsteady_rows
from espalier.bundle.verify import VerifyReport, golden_query
from espalier.errors import ModelError, ParityError, Problem, SpecError, WorkError
from espalier.exporter import runtimes
from espalier.exporter.golden import drawn
from espalier.exporter.onnx import onnx_bytes
from espalier.exporter.parity import ParityReport, Trials, check_trials, compare_outputs
from espalier.layers.model import TrainableModel
from espalier.layers.module_backend import ModuleBackend
from espalier.networks.card import Network, load
from espalier.runtime.backend import Backend
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend
from espalier.runtime.model import backend as open_backend
from espalier.runtime.predictor import Predictor, prepared_batches
from espalier.runtime.tiles import Tiles
from espalier.spec.verbs import ExportSpec
from espalier.tasks.base import Decoder, Sample, Scores, Task
from espalier.vision.prepare import Prepare
from espalier.vision.tiling import Tiling

GRAPH = "model.onnx"
_STEP_PX = 32
"""The other size that a graph of free size is tried at is so much higher and twice as much wider."""

_OTHER_BATCH = 3
_TRACED_BATCH = 2
_CANDIDATES = 8
"""Times `golden_count`: so many are tried to find inputs on which the model holds its answer."""

_GOLDEN_TRIES = 4
"""With noise, of each: what it costs where nothing is wrong."""


class Pictures(Protocol):
    """Labelled pictures, read when they are asked for: data.samples.Samples, or a list."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Sample]: ...
    @overload
    def __getitem__(self, row: int, /) -> Sample: ...
    @overload
    def __getitem__(self, row: slice, /) -> Pictures: ...


@dataclass(frozen=True)
class Subject:
    """What is exported."""

    name: str
    card: Network
    model: TrainableModel
    task: Task
    classes: tuple[str, ...]
    prepare: Prepare
    decode: Decode
    licences: tuple[Licence, ...]
    provenance: Provenance
    tiles: Tiles | None = None

    @property
    def decoder(self) -> Decoder:
        """The decoder by its recorded name."""
        return self.task.decoder(self.decode.name, self.decode.version)

    @property
    def tiling(self) -> Tiling | None:
        """How large pictures are cut; None where they are asked whole."""
        return None if self.tiles is None else self.tiles.tiling

    @property
    def match(self) -> Match | None:
        """How the network's outputs are paired before they are compared; None compares element by element."""
        return None if self.card.match_outputs is None else load(self.card.match_outputs)


@dataclass(frozen=True)
class Made:
    """A bundle that was written and proven."""

    manifest: Manifest
    parity: ParityReport
    metric: Metric | None
    verified: VerifyReport


def make_bundle(
    subject: Subject, samples: Pictures, options: ExportSpec, folder: str | Path, *, seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Made:  # fmt: skip
    """Writes the bundle of `subject` to `folder`, all of it or nothing.

    Parity is gated on golden inputs and on the first `options.parity_images` of `samples`, the headline metric on the
    latter; without samples there is no metric. Items that the model itself does not hold prove nothing (see parity) and
    are left out of raw parity, never of the metric. Raises ParityError where a gate fails, SpecError for an option that
    the network can't meet, WorkError where the exporter fails.
    """
    free_size = _free_size(subject, options)
    runtimes.check_installed(options.backends)
    golden_inputs, queries = _golden_inputs(subject, samples, options, seed)
    say(f"tracing {subject.card.name} (opset {options.opset})")
    graph = onnx_bytes(subject.model, _rows(golden_inputs, _TRACED_BATCH), opset=options.opset, dynamic_size=free_size)
    pair = _Pair(subject, graph, options)
    say("comparing raw outputs")
    parity = pair.check(_trials(golden_inputs))
    if free_size:
        parity += _other_size(pair, golden_inputs)
    parity.raise_if_failed(GRAPH)
    larger = [_larger_trial(golden_inputs)] if free_size else []
    checked = pair.in_runtimes(graph, parity, [*_trials(golden_inputs), *larger])
    pictures = samples[: options.parity_images]
    metric = None
    if len(pictures):
        say(f"comparing outputs and the metric on {len(pictures)} pictures")
        more, metric = pair.check_samples(pictures)
        parity += more
        parity.raise_if_failed(GRAPH)
        _gate_metric(metric, options.metric_tolerance)
    golden = _golden_set(subject, pair.reference, golden_inputs, queries)
    manifest = _manifest(subject, pair.graph, graph, Proof(parity, metric, checked), golden, options)
    manifest, verified = _write(folder, manifest, {GRAPH: graph, **golden_files.to_files(golden)}, subject.match)
    return Made(manifest, parity, metric, verified)


def _free_size(subject: Subject, options: ExportSpec) -> bool:
    """Do height and width stay free? Raises SpecError where they should and the network can't."""
    card, one_size = subject.card, subject.prepare.one_size
    free = not one_size if options.dynamic_size == "auto" else options.dynamic_size
    tied = any(not part.free_size for part in subject.model.modules() if isinstance(part, Backbone))
    if free and (tied or not card.dynamic_size):
        encoder = " on this encoder" if tied else ""
        what = f"the network '{card.name}'{encoder} has a fixed input size once it is exported"
        asked = options.dynamic_size is True
        fix = "leave it false" if asked else "train with network.input.fit=letterbox, so that pictures come out at one"
        raise SpecError(Problem("export.dynamic_size", what, fix=fix))
    return free


# ---- golden inputs -------------------------------------------------------------------------------------------------


def _golden_inputs(
    subject: Subject, samples: Pictures, options: ExportSpec, seed: int
) -> tuple[dict[str, NDArray[Any]], list[Any]]:
    """(inputs stacked, the queries that they were prepared from), all of one size. Of a picture that is cut into tiles
    each tile is an input."""
    if options.golden == "images":
        candidates = (_few_tiles(query, subject.tiling) for query in _spread(samples, options.golden_count))
    else:
        pictures = drawn(subject.prepare, seed=seed, tiling=subject.tiling)
        candidates = (golden_query(subject.task, next(pictures)) for _ in range(_CANDIDATES * options.golden_count))
    return _prepared(subject, _steady_first(subject, candidates, options))


def _steady_first(subject: Subject, candidates: Iterable[Any], options: ExportSpec) -> list[Any]:
    """`golden_count` queries: the first on which the model holds its answer, then others where these are too few.

    Other machines will compare them. The graph has no say in the choice, for a wrong one must not choose its judges.
    """
    backend = ModuleBackend(subject.model)
    steady: list[Any] = []
    others: list[Any] = []
    for query in candidates:
        (steady if _is_steady(subject, backend, query, options.tolerance) else others).append(query)
        if len(steady) == options.golden_count:
            break
    return [*steady, *others][: options.golden_count]


def _is_steady(subject: Subject, backend: Backend, query: Any, tolerance: float) -> bool:
    """Does the model hold its answer to the query within the tolerance?"""
    inputs, _ = _prepared(subject, [query])
    said = backend.run(inputs)
    every_B = np.ones(len(next(iter(inputs.values()))), np.bool_)
    unsteady_B = unsteady_rows(
        inputs, every_B, tolerance, run=backend.run, said=said, match=subject.match, tries=_GOLDEN_TRIES
    )
    return not unsteady_B.any()


def _prepared(subject: Subject, queries: Sequence[Any]) -> tuple[dict[str, NDArray[Any]], list[Any]]:
    """The inputs of the first queries, as many as come out at one size, and these."""
    parts = [list(subject.prepare.placed_parts(query, subject.tiling)) for query in queries]
    placed = [part for own in parts for part in own]
    batch = next(prepared_batches(subject.prepare.finished, placed, len(placed)))
    whole = int(np.searchsorted(np.cumsum([len(own) for own in parts]), len(batch.queries), side="right"))
    return {name: array[: sum(map(len, parts[:whole]))] for name, array in batch.inputs.items()}, list(queries[:whole])


def _few_tiles(query: Any, tiling: Tiling | None) -> Any:
    """The query of a large picture cut off after two tiles, since all of them would make the bundle large."""
    if tiling is None:
        return query
    height, width = (min(side, most) for side, most in zip(query.image_HWC.shape, tiling.pair_hw, strict=False))
    return replace(query, image_HWC=np.ascontiguousarray(query.image_HWC[:height, :width]))


def _spread(samples: Pictures, count: int) -> Iterator[Any]:
    """`count` queries from all over the samples, then as many more as may be tried."""
    if not len(samples):
        fix = "give export.data, or take export.golden=drawn"
        raise SpecError(Problem("export.golden", "'images' needs pictures, and none are at hand", fix=fix))
    rows = (np.linspace(0, len(samples) - 1, n).round().astype(int).tolist() for n in (count, _CANDIDATES * count))
    return (samples[row].query for row in dict.fromkeys(chain.from_iterable(rows)))


def _rows(inputs: Mapping[str, NDArray[Any]], count: int, *, start: int = 0) -> dict[str, NDArray[Any]]:
    """`count` rows from `start` on, repeated where there are fewer."""
    return {name: np.resize(np.roll(array, -start, 0), (count, *array.shape[1:])) for name, array in inputs.items()}


def _trials(inputs: Mapping[str, NDArray[Any]]) -> Trials:
    """The golden inputs as batches: all, one alone, and a batch that was not traced."""
    starts = range(len(next(iter(inputs.values()))))
    return [[inputs], *([_rows(inputs, count, start=n) for n in starts] for count in (1, _OTHER_BATCH))]


def _other_size(pair: _Pair, inputs: Mapping[str, NDArray[Any]]) -> ParityReport:
    """A graph can be tied to the traced size in silence, so another is run. Raises WorkError if the model fails."""
    try:
        return pair.check([_larger_trial(inputs)])
    except RuntimeError as error:
        what = f"the model itself does not take another size: {str(error).splitlines()[0][:200]}"
        fix = "take export.dynamic_size=false; the network's card should not allow it"
        raise WorkError(Problem(pair.subject.card.name, what, fix=fix)) from error


def _larger_trial(inputs: Mapping[str, NDArray[Any]]) -> list[dict[str, NDArray[Any]]]:
    """One golden input alone, at another size."""
    starts = range(len(next(iter(inputs.values()))))
    return [{name: _larger(array) for name, array in _rows(inputs, 1, start=n).items()} for n in starts]


def _larger(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim != 4:
        return array
    return np.pad(array, ((0, 0), (0, 0), (0, _STEP_PX), (0, 2 * _STEP_PX)), mode="wrap")


def _golden_set(
    subject: Subject, reference: Predictor, inputs: dict[str, NDArray[Any]], queries: Sequence[Any]
) -> GoldenSet:
    """What the model itself says of the golden inputs: the truth that every copy is held to."""
    placed = [part for query in queries for part in reference.placed(query)]
    batch = next(prepared_batches(subject.prepare.finished, placed, len(placed)))
    outputs = reference.backend.run(inputs)
    said = reference.joiner().add(batch.queries, reference.decoded(batch, outputs))
    predictions = [subject.task.to_json(prediction, subject.classes) for _, prediction in said]
    return GoldenSet([golden_files.query_arrays(query) for query in queries], inputs, outputs, predictions)


# ---- the gate ------------------------------------------------------------------------------------------------------


class _Pair:
    """The model and its graph, asked the same questions."""

    def __init__(self, subject: Subject, graph: bytes, options: ExportSpec) -> None:
        self.subject, self.options, self.tolerance = subject, options, options.tolerance
        self.graph = OnnxRuntimeBackend(graph, "cpu", where=GRAPH)
        self.reference = self._predictor(ModuleBackend(subject.model))
        self.exported = self._predictor(self.graph)

    def _predictor(self, backend: Backend) -> Predictor:
        of = self.subject
        return Predictor(of.prepare, backend, of.decoder, of.classes, of.decode.params, tiles=of.tiles)

    def check(self, trials: Trials) -> ParityReport:
        """Raw outputs on these trials. Raises ParityError too where the graph does not run on one of them."""
        try:
            return check_trials(self.reference.backend, self.graph, trials, self.tolerance, self.subject.match, GRAPH)
        except ModelError as error:
            fix = "nothing was written: the graph is tied to the traced batch or size; try export.dynamic_size=false"
            raise ParityError(*(Problem(p.where, p.what, p.expected, fix) for p in error.problems)) from error

    def in_runtimes(self, graph: bytes, parity: ParityReport, trials: Trials) -> tuple[Runtime, ...]:
        """The runtimes that the graph was proven in; raises ParityError where one of them differs."""
        return runtimes.proven(
            graph,
            self.reference.backend,
            parity,
            trials=trials,
            asked=self.options.backends,
            match=self.subject.match,
            where=GRAPH,
        )

    def check_samples(self, samples: Pictures) -> tuple[ParityReport, Metric]:
        """Raw outputs and the headline figure on labelled pictures, each read and prepared once."""
        waiting: deque[Sample] = deque()
        report = ParityReport(self.tolerance, {}, (), (), 0)
        before, after = (self.subject.task.metrics(self.subject.classes) for _ in range(2))
        whole = [predictor.joiner() for predictor in (self.reference, self.exported)]
        for batch in self.reference.batches(_queries(samples, waiting)):
            expected, found = (p.backend.run(batch.inputs) for p in (self.reference, self.exported))
            report += compare_outputs(
                self.reference.backend, batch.inputs, expected, found, self.tolerance, self.subject.match
            )
            said = [
                [prediction for _, prediction in joiner.add(batch.queries, self.reference.decoded(batch, outputs))]
                for joiner, outputs in zip(whole, (expected, found), strict=True)
            ]
            asked = [waiting.popleft() for _ in said[0]]
            before.update(said[0], asked)
            after.update(said[1], asked)
        return report, _metric(before.compute(), after.compute())


def _queries(samples: Pictures, waiting: deque[Sample]) -> Iterator[Any]:
    """The queries; each sample waits until its batch has been answered."""
    for sample in samples:
        waiting.append(sample)
        yield sample.query


def _metric(reference: Scores, exported: Scores) -> Metric:
    return Metric(name=reference.main, value=exported.value, reference=reference.value, pictures=reference.n)


def _gate_metric(metric: Metric, tolerance: float) -> None:
    change = abs(metric.value - metric.reference)
    if not change <= tolerance:
        what = f"{metric.name} is {metric.value:.4f} where the model has {metric.reference:.4f}"
        fix = "nothing was written; the outputs differ where it matters, see the parity errors"
        raise ParityError(Problem(GRAPH, what, f"a change of at most {tolerance:g} on {metric.pictures} pictures", fix))


# ---- writing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proof:
    """How the graph was compared with the model."""

    parity: ParityReport
    metric: Metric | None
    runtimes: tuple[Runtime, ...]


def _manifest(
    subject: Subject, graph: OnnxRuntimeBackend, data: bytes, proof: Proof, golden: GoldenSet, options: ExportSpec
) -> Manifest:
    inputs, outputs = graph.ports()
    artifact = Artifact(
        id="onnx-fp32",
        backend="onnxruntime",
        precision="fp32",
        files=(record(GRAPH, data),),
        inputs=_ports(inputs),
        outputs=_ports(outputs),
        parity=_parity(proof.parity),
        metric=proof.metric,
        runtimes=proof.runtimes,
    )
    return Manifest(
        name=subject.name,
        task=subject.task.name,
        classes=subject.classes,
        prepare=subject.prepare.to_json(),
        decode=subject.decode,
        tiles=None if subject.tiling is None else subject.tiling.to_json(),
        artifacts=(artifact,),
        golden=Golden(kind=options.golden, count=golden.count, tolerance=options.tolerance),
        licences=subject.licences,
        provenance=subject.provenance,
    )


def _ports(ports: Sequence[tuple[str, str, tuple[int | None, ...]]]) -> tuple[Port, ...]:
    return tuple(Port(name=name, dtype=dtype, shape=shape) for name, dtype, shape in ports)


def _parity(report: ParityReport) -> Parity:
    """To two digits: what is behind them is noise of the machine, and would make the bytes differ."""
    return Parity(
        tolerance=report.tolerance,
        error={name: float(f"{value:.1e}") for name, value in report.error.items()},
        batches=report.batches,
        sizes_hw=report.sizes_hw,
        pictures=report.items,
        unsteady=report.unsteady,
    )


def _write(
    folder: str | Path, manifest: Manifest, contents: dict[str, bytes], match: Match | None
) -> tuple[Manifest, VerifyReport]:
    """Writes the bundle beside its place, opens that copy as a user would, verifies it, and only then puts it there."""
    reports: list[VerifyReport] = []

    def prove(bundle: Bundle) -> None:
        reports.append(bundle.verify(open_backend(bundle, bundle.artifact(), device="cpu").run, match=match))
        reports[-1].raise_if_failed(GRAPH)

    contents = contents | {"README.md": model_card(manifest).encode()}
    return Bundle.write(folder, manifest, contents, prove=prove), reports[-1]
