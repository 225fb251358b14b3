"""The predictor: order, batches, the thread that prepares ahead, and what it does with errors."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from espalier.runtime.backend import Backend
from espalier.runtime.predictor import Predictor, ahead, prepared_batches
from espalier.tasks.base import ImageQuery
from espalier.vision.prepare import Prepare, ValidInput, standard_prepare

PREPARE = standard_prepare((4, 4), fit="stretch")


class Mean:
    """The mean of each picture; remembers its batches."""

    name, device = "mean", "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs):
        image_BCHW = inputs["image"]
        self.batches.append(len(image_BCHW))
        return {"mean": image_BCHW.mean((1, 2, 3))}


def decode(outputs, geometries, classes, params):
    assert len(outputs["mean"]) == len(geometries)
    return [round(float(m) * 255) for m in outputs["mean"]]


def query(value: int, size_hw=(6, 6)) -> ImageQuery:
    return ImageQuery(np.full((*size_hw, 3), value, np.uint8), str(value))


def make(backend, prepare=PREPARE, batch_size=4) -> Predictor:
    return Predictor(prepare, backend, decode, ("x",), {}, batch_size=batch_size)


@pytest.mark.parametrize("n", [0, 1, 4, 5, 11])
def test_every_query_is_answered_in_order(n):
    backend = Mean()
    assert isinstance(backend, Backend)
    assert make(backend)(query(i) for i in range(n)) == list(range(n))
    assert backend.batches == [4] * (n // 4) + ([n % 4] if n % 4 else [])


def test_pairs_and_raw():
    predictor = make(Mean())
    pairs = list(predictor.pairs(query(i) for i in range(5)))
    assert [(q.name, p) for q, p in pairs] == [(str(i), i) for i in range(5)]
    raw = list(predictor.raw(query(i) for i in range(5)))
    assert [b.inputs["image"].shape for b, _ in raw] == [(4, 3, 4, 4), (1, 3, 4, 4)]
    assert np.allclose(raw[1][1]["mean"] * 255, 4)


def test_pictures_that_come_out_at_other_sizes_are_batched_apart():
    backend = Mean()
    prepare = standard_prepare((8, 8), fit="longest_edge")
    sizes = [(8, 4), (8, 4), (4, 8), (8, 4)]
    assert make(backend, prepare)(query(i, s) for i, s in enumerate(sizes)) == [0, 1, 2, 3]
    assert backend.batches == [2, 1, 1]


def test_pictures_of_other_sizes_share_a_batch_where_the_network_is_told_of_padding():
    class Looks(Mean):
        def run(self, inputs):
            self.batches.append(inputs["image"].shape)
            told = zip(inputs["image"], inputs["valid_hw"], strict=True)
            return {"mean": np.array([image[:, :h, :w].mean() for image, (h, w) in told])}

    backend = Looks()
    prepare = Prepare(standard_prepare((8, 12), fit="capped_edges").inputs, valid=(ValidInput(),))
    sizes = [(8, 4), (8, 4), (4, 8), (8, 4)]
    assert make(backend, prepare)(query(i, s) for i, s in enumerate(sizes)) == [0, 1, 2, 3]
    assert backend.batches == [(4, 3, 12, 12)]


def test_the_next_batch_is_made_while_the_backend_runs():
    made = [threading.Event() for _ in range(5)]

    def queries():
        for i, event in enumerate(made):
            event.set()
            yield query(i)

    class Waits(Mean):
        def run(self, inputs):
            first = not self.batches
            answer = super().run(inputs)
            if first:  # picture 0 is not answered yet: 1 waits to be taken, 2 is in hand, and no more than that is read
                assert made[2].wait(5)
                time.sleep(0.1)
                assert not made[3].is_set()
            return answer

    assert make(Waits(), batch_size=1)(queries()) == [0, 1, 2, 3, 4]


def test_what_reading_raises_is_raised_and_the_thread_ends():
    def queries():
        yield query(0)
        raise KeyError("picture")

    with pytest.raises(KeyError, match="picture"):
        make(Mean())(queries())
    assert not _threads()


def test_stopping_early_ends_the_thread_and_closes_what_it_reads():
    closed = []

    def queries():
        try:
            for i in range(1000):
                yield query(i % 256)
        finally:
            closed.append(True)

    stream = make(Mean(), batch_size=1).stream(queries())
    assert next(stream) == 0
    stream.close()
    assert not _threads()
    assert closed


def test_backend_error_ends_the_thread():
    class Broken(Mean):
        def run(self, inputs):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        make(Broken(), batch_size=1)(query(i) for i in range(9))
    assert not _threads()


def test_ahead_keeps_nothing_back():
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter([None, None]))) == [None, None]


def test_prepared_batches_keep_geometry():
    (batch,) = prepared_batches(PREPARE, [query(1, (8, 16))], 4)
    assert batch.geometries[0].to_source(np.array([[4.0, 4.0]])).tolist() == [[16.0, 8.0]]


def _threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "espalier-prepare"]
