"""Bound runs give what plain runs give. What they do on a GPU runs here with the CPU as the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.models.binding import MOST_SHAPES, NO_GRAPH, BoundRun, PlainRun, output_shapes
from bimodal.models.catalog import resolve
from bimodal.models.contract import Tensor
from tests.artifacts import make_face_static

FREE = {"face-compact": "faces", "facemesh-468": "faces", "silero-vad": "waveform", "speech-compact": "waveform"}


def both(path: Path, *, graph: bool = False) -> tuple[PlainRun, BoundRun, list[Tensor]]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs, outputs = (
        [Tensor(node.name, node.type, tuple(node.shape)) for node in nodes]
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    return PlainRun(session, outputs), BoundRun(session, inputs, outputs, device="cpu", graph=graph), inputs


def something(tensors: list[Tensor], batch: int, seed: int) -> dict[str, NDArray[np.generic]]:
    random = np.random.default_rng(seed)
    made: dict[str, NDArray[np.generic]] = {}
    for tensor in tensors:
        free = [16_000 if size in ("samples", "S") else batch for size in tensor.shape]
        shape = [size if isinstance(size, int) else free[axis] for axis, size in enumerate(tensor.shape)]
        noise = random.random(shape, dtype=np.float32)
        made[tensor.name] = (noise * 255).astype(np.uint8) if "uint8" in tensor.type else noise
    return made


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_face_static(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ["blazeface-short", *FREE])
def test_bound_runs_give_what_plain_runs_give(name: str) -> None:
    plain, bound, inputs = both(resolve(name), graph=True)
    for turn, batch in enumerate((1, 2, 1) if name in FREE else (1, 1)):
        feed = something(inputs, batch, turn)
        wanted, found = plain(feed), bound(feed)
        assert found.keys() == wanted.keys()
        for output, values in wanted.items():
            np.testing.assert_array_equal(found[output], values)


def test_what_a_run_gave_stays_as_it_is(tiny: Path) -> None:
    _, bound, inputs = both(tiny)
    first = bound(something(inputs, 2, 1))
    kept = {name: values.copy() for name, values in first.items()}
    bound(something(inputs, 2, 2))
    for name, values in kept.items():
        np.testing.assert_array_equal(first[name], values)


def test_more_shapes_than_are_kept_and_views_and_nothing_at_all(tiny: Path) -> None:
    plain, bound, inputs = both(tiny, graph=True)
    whole = something(inputs, 2 * MOST_SHAPES + 4, 0)["faces"]
    for batch in range(1, MOST_SHAPES + 3):
        every_other = whole[::2][:batch]
        wanted = plain({"faces": np.ascontiguousarray(every_other)})
        np.testing.assert_array_equal(bound({"faces": every_other})["embedding"], wanted["embedding"])
    assert bound({"faces": whole[:0]})["probabilities"].shape == (0, 7)
    assert len(bound._kept) == MOST_SHAPES
    graphs = [one.options.get_run_config_entry("gpu_graph_id") for one in bound._kept.values()]
    assert len(set(graphs)) == MOST_SHAPES
    assert NO_GRAPH not in map(int, graphs)


class Failing:
    """A session that fails once, and says which graph it was asked for each time."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.graphs: list[int] = []

    def io_binding(self) -> ort.IOBinding:
        return self.session.io_binding()

    def run_with_iobinding(self, binding: ort.IOBinding, options: ort.RunOptions) -> None:
        self.graphs.append(int(options.get_run_config_entry("gpu_graph_id")))
        if len(self.graphs) == 2:
            raise MemoryError
        self.session.run_with_iobinding(binding, options)


def test_a_graph_that_failed_is_given_to_no_other_shape(tiny: Path) -> None:
    _, bound, inputs = both(tiny, graph=True)
    failing = Failing(bound._session)
    bound._session = failing  # type: ignore[assignment]
    bound(something(inputs, 1, 0))
    with pytest.raises(MemoryError):
        bound(something(inputs, 2, 0))
    for batch in (3, 2, 3):
        bound(something(inputs, batch, 0))
    one, failed, three, two, again = failing.graphs
    assert len({one, failed, three, two}) == 4
    assert again == three
    assert NO_GRAPH not in failing.graphs


def test_a_run_that_can_not_be_raises_and_the_next_one_runs(tiny: Path) -> None:
    plain, bound, inputs = both(tiny)
    for _ in range(2):
        with pytest.raises(Exception, match="faces"):
            bound({"faces": np.zeros((1, 40, 48, 3), np.uint8)})
    feed = something(inputs, 1, 0)
    np.testing.assert_array_equal(bound(feed)["embedding"], plain(feed)["embedding"])


@given(batch=st.integers(1, 64), classes=st.integers(1, 9))
def test_sizes_of_outputs_follow_the_names_of_inputs(batch: int, classes: int) -> None:
    faces = Tensor("faces", "tensor(uint8)", ("n", 48, 48, 3))
    shape = (batch, 48, 48, 3)

    def sizes(*output: int | str | None, kind: str = "tensor(float)") -> list[tuple[int, ...]] | None:
        return output_shapes([faces], [Tensor("probabilities", kind, output)], [shape])

    assert sizes("n", classes) == [(batch, classes)]
    assert sizes("m", classes) is None
    assert sizes(None, classes) is None
    assert sizes("n", classes, kind="tensor(string)") is None
    assert output_shapes([faces], [], [shape[1:]]) is None
    assert output_shapes([faces], [], []) is None
