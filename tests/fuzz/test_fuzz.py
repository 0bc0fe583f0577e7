"""Every fuzz target for some seconds; BIMODAL_FUZZ=20 makes it twenty times as long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bimodal.broker.messages import Hello, Welcome, decode, seal
from bimodal.broker.process import BrokerProcess
from bimodal.broker.sockets import connect, mailbox_endpoint, make_private
from bimodal.config import Config, check_config
from bimodal.workers.errors import ConfigError
from tests.fuzz import artifact, config, messages, page, router, slots
from tests.fuzz.bodies import short

TIMES = int(os.environ.get("BIMODAL_FUZZ", "1"))
REPOSITORY = Path(__file__).parents[2]
TARGETS = ("messages", "router", "slots", "config", "artifact", "page")

often = settings(max_examples=300 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))
seldom = settings(max_examples=60 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def broken(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A genuine input with some of it changed, left out, or put in twice."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 8))
        put = draw(st.one_of(st.binary(max_size=8), st.just(bytes(data[:length]))))
        data[at : at + length] = put
    return bytes(data)


def inputs(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Noise, and genuine inputs broken a little."""
    return st.one_of(st.binary(max_size=500), broken(seeds))


@often
@given(inputs(messages.seeds()))
def test_messages(data: bytes) -> None:
    messages.one(data)


@often
@given(st.binary(max_size=1500))
def test_the_router(data: bytes) -> None:
    router.one(data)


@seldom
@given(inputs(slots.seeds()))
def test_slots(data: bytes) -> None:
    slots.one(data)


@seldom
@given(inputs(config.seeds()))
def test_config_files(data: bytes) -> None:
    config.one(data)


@often
@given(inputs(artifact.seeds()))
def test_artifacts_and_their_metadata(data: bytes) -> None:
    artifact.one(data)


@often
@given(inputs(page.seeds()))
def test_requests_to_the_page(data: bytes) -> None:
    page.one(data)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(max_size=9), st.integers()), inner, max_size=3)
    ),
    max_leaves=8,
)
SECTIONS = [field.alias or name for name, field in Config.model_fields.items()]


@often
@given(st.dictionaries(st.sampled_from([*SECTIONS, "other"]), VALUES, max_size=3))
def test_config_values_of_any_kind(values: dict[str, object]) -> None:
    try:
        check_config(values, "config.yaml")
    except ConfigError as error:
        short(error)


@often
@given(st.sampled_from([*json.loads(artifact.seeds()[1][1:])]), VALUES)
def test_metadata_of_any_kind(key: str, value: object) -> None:
    properties = json.loads(artifact.seeds()[1][1:])
    try:
        properties[key] = json.dumps(value)
    except TypeError:
        properties[key] = str(value)
    artifact.one(b"m" + json.dumps(properties).encode())


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a: " * 5_000, "a: 2001-99-99", "a: 0b", "a: " + "9" * 5000, "\0", "- &a [*a]"]
)
def test_yaml_that_makes_its_parser_stumble(text: str) -> None:
    config.one(text.encode())


def test_a_broker_survives_whatever_is_put_into_its_mailbox(tmp_path: Path) -> None:
    make_private(tmp_path / "s")
    broker = BrokerProcess(tmp_path / "s", "broker", 1)
    stopped = threading.Event()
    errors: list[BaseException] = []

    def serve() -> None:
        try:
            broker.run(lambda: not stopped.is_set(), lambda: None)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    context = zmq.Context[zmq.Socket[bytes]]()
    line = connect(context, zmq.DEALER, mailbox_endpoint(tmp_path / "s"))
    try:
        _throw(line)
        line.send(seal(Hello(role="worker", modality="face"), epoch=0, sender="face 1", incarnation=1))
        assert line.poll(20_000), errors
        assert isinstance(decode(line.recv()).body, Welcome)
    finally:
        stopped.set()
        thread.join()
        line.close(linger=0)
        context.term()
        broker.close()
    assert not errors


def _throw(line: zmq.Socket[bytes]) -> None:
    @settings(max_examples=100 * TIMES, deadline=None, database=None)
    @given(st.lists(inputs(messages.seeds()), min_size=1, max_size=4))
    def throw(frames: list[bytes]) -> None:
        line.send_multipart(frames)

    throw()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="atheris runs on Linux only")
@pytest.mark.parametrize("target", TARGETS)
def test_with_coverage_as_the_guide(target: str) -> None:
    command = [sys.executable, "-m", f"tests.fuzz.{target}", f"-max_total_time={TIMES}", "-seed=1"]
    command.append("-rss_limit_mb=0")  # its figure is the largest of whoever started it, too
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "cov:" in done.stderr
