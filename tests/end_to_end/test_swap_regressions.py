"""A swap that does not work is refused beforehand, or rolled back."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.end_to_end.driving import Driven
from tests.end_to_end.living import Living, static_model, status, until


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Living:
    return Living(tmp_path_factory.mktemp("regressions"))


def only_black(living: Living, name: str) -> Path:
    """A model that works on black crops, as in its warm-up, and on a real picture fails, hangs or says NaN."""
    path = living.model(name)
    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        for place, output in enumerate(node.output):
            if output == "probabilities":
                node.output[place] = "good"
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["values"], ["brightest"], keepdims=0),
            helper.make_node("Cast", ["brightest"], ["index"], to=TensorProto.INT64),
        ]
    )
    if name == "hangs":
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["go_on"], ["going"]),
                helper.make_node("Mul", ["carried", "one"], ["carried_on"]),
            ],
            "again",
            [
                helper.make_tensor_value_info("count", TensorProto.INT64, []),
                helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("carried", TensorProto.FLOAT, []),
            ],
            [
                helper.make_tensor_value_info("going", TensorProto.BOOL, []),
                helper.make_tensor_value_info("carried_on", TensorProto.FLOAT, []),
            ],
            [numpy_helper.from_array(np.array(1.0, np.float32), "one")],
        )
        graph.initializer.append(numpy_helper.from_array(np.array(10**9, np.int64), "many"))
        graph.initializer.append(numpy_helper.from_array(np.array(1.0, np.float32), "begin"))
        graph.node.append(helper.make_node("Mul", ["index", "many"], ["turns"]))
        graph.node.append(helper.make_node("Loop", ["turns", "", "begin"], ["factor"], body=body))
    elif name == "overflows":
        graph.initializer.append(numpy_helper.from_array(np.array([1.0, np.nan], np.float32), "table"))
        graph.initializer.append(numpy_helper.from_array(np.array(0.0, np.float32), "black"))
        graph.node.append(helper.make_node("Greater", ["brightest", "black"], ["is_bright"]))
        graph.node.append(helper.make_node("Cast", ["is_bright"], ["place"], to=TensorProto.INT64))
        graph.node.append(helper.make_node("Gather", ["table", "place"], ["factor"]))
    else:
        graph.initializer.append(numpy_helper.from_array(np.array([1.0], np.float32), "table"))
        graph.node.append(helper.make_node("Gather", ["table", "index"], ["factor"]))
    graph.node.append(helper.make_node("Mul", ["good", "factor"], ["probabilities"]))
    onnx.save(model, path)
    return path


def refused(session: str) -> dict[str, Any]:
    return until(session, lambda found: not found["changing"] and found["refused"] is not None)


@pytest.mark.parametrize("name", ["fails", "hangs", "overflows"])
def test_a_model_that_fails_on_real_pictures_only_never_takes_over(living: Living, name: str) -> None:
    session = "test-swap-black"
    living.write(models={"face-static": str(living.models["first"])})
    with living.up(session) as driven:
        for _ in range(10):
            driven.wait_for(lambda body: static_model(body) == "first@1")
        living.write(models={"face-static": str(only_black(living, name))})
        found = refused(session)
        assert "real frames" in found["refused"], found["refused"]
        assert status(session)[0] == 3
        for _ in range(10):
            driven.wait_for(lambda body: static_model(body) == "first@1")
        living.write(models={"face-static": str(living.models["second"])})
        driven.wait_for(lambda body: static_model(body) == "second@1")
        found = until(session, lambda found: not found["changing"])
        assert found["tried"].startswith("the new workers were tried on")
        assert "labels are those of the old" in found["tried"]


def page(driven: Driven, session: str) -> str:
    found = until(session, lambda found: any(process["address"] for process in found["processes"]))
    return next(process["address"] for process in found["processes"] if process["address"])


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}livez", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def test_the_page_moves_with_its_port_or_the_edit_is_refused_whole(living: Living) -> None:
    session = "test-swap-page"
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    living.write(models={"face-static": str(living.models["first"])}, outputs={"view": {"port": ports[0]}})
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) is not None)
        assert page(driven, session) == f"http://127.0.0.1:{ports[0]}/"
        living.write(outputs={"view": {"port": ports[1]}})
        moved = f"http://127.0.0.1:{ports[1]}/"
        until(session, lambda found: any(one["address"] == moved for one in found["processes"]))
        assert answers(f"http://127.0.0.1:{ports[1]}/")
        living.write(outputs={"view": {"port": ports[1], "host": "203.0.113.7", "token": "0123456789abcdef"}})
        found = refused(session)
        assert "can't be served at 203.0.113.7" in found["refused"]
        assert answers(f"http://127.0.0.1:{ports[1]}/"), "page, probes and metrics stay"
    living.write(outputs={"view": False})
