"""A worker on another machine (here: with another home, over TCP) does jobs; one that isn't allowed does none."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat, Status
from tests.artifacts import make_face_static
from tests.end_to_end.driving import PATIENCE_S, REPOSITORY, Driven
from tests.end_to_end.test_curve import Machine, free_port
from tests.media import face_clip

SESSION = "test-remote"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("remote") / "config.yaml"


@pytest.fixture(scope="module")
def live(server: Machine, config: Path, port: int) -> Iterator[tuple[Driven, str]]:
    """A system with one face worker of its own, and its public key."""
    key = server.key()
    clip = face_clip(config.with_name("clip.mp4"), 2.0)
    config.write_text(
        f"streams: {{clip: {{file: '{clip}', loop: true}}}}\nworkers: {{face: {{count: 1}}}}\n"
        f"models: {{speech: none}}\noutputs: {{view: false}}\nnetwork: {{workers: ['tcp://127.0.0.1:{port}']}}\n"
    )
    arguments = ("up", "--config", config, "--session", SESSION)
    with Driven(*arguments, session=SESSION, environment=server.environment) as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion))
        yield driven, key


def test_a_key_that_may_only_read_events_gets_no_pixels(
    live: tuple[Driven, str], server: Machine, tmp_path: Path, port: int
) -> None:
    driven, key = live
    away = Machine(tmp_path / "away")
    server.run("keys", "allow", away.key(), "--name", "reader")
    work = ("work", "face", "--at", f"tcp://127.0.0.1:{port}", "--server-key", key)
    with Driven(*work, session=SESSION, environment=away.environment) as worker:
        assert worker.process.stdout is not None
        assert "its key must be allowed, by: bimodal keys allow" in worker.process.stdout.readline()
        for _ in range(4):
            status = driven.wait_for(lambda body: isinstance(body, Status))
            assert isinstance(status, Status)
            assert status.workers["face"] == 1
        worker.interrupt()
        assert worker.finish()[0] == 0


def test_it_is_sent_the_pixels_and_finds_the_face(
    live: tuple[Driven, str], server: Machine, tmp_path: Path, port: int, config: Path
) -> None:
    driven, key = live
    away = Machine(tmp_path / "away")
    mine = away.key()
    code, _, err = server.run("keys", "allow", mine, "--name", "gpu", "--work")
    assert code == 0, err
    # The one at home can't answer any more, and everything that is seen from now on was seen by the other.
    driven.kill("face 1", signal.SIGSTOP)
    work = ("work", "face", "--at", f"tcp://127.0.0.1:{port}", "--server-key", key)
    with Driven(*work, session=SESSION, environment=away.environment) as worker:
        beat = driven.wait_for(
            lambda body: isinstance(body, Heartbeat) and body.name.startswith("gpu: face ") and body.figures != {}
        )
        assert isinstance(beat, Heartbeat)
        assert beat.models["face-static"].startswith("face-robust@")
        done = driven.wait_for(
            lambda body: isinstance(body, Heartbeat) and body.name == beat.name and body.figures.get("done", 0) >= 10
        )
        assert isinstance(done, Heartbeat)
        seen = driven.wait_for(lambda body: isinstance(body, Emotion) and len(body.faces) > 0)
        assert isinstance(seen, Emotion)
        assert 0 <= seen.latency_ms.queue < 60_000
        # A box with cameras only.
        config.write_text(config.read_text().replace("count: 1", "count: 0"))
        driven.wait_for(lambda body: isinstance(body, Heartbeat) and body.name == "face 1" and body.state == "stopped")
        driven.wait_for(lambda body: isinstance(body, Status) and body.workers["face"] == 1)
        code, out, _ = server.run("status", "--session", SESSION)
        assert "face: no worker here, 1 on other machines" in out
        assert code == 0, out
        worker.interrupt()
        assert worker.finish()[0] == 0
    # It is gone: nobody tells the broker but its silence.
    driven.wait_for(lambda body: isinstance(body, Status) and not body.workers.get("face"))
    driven.wait_for(lambda body: isinstance(body, Heartbeat) and "no face worker is connected" in str(body.because))
    # That is no fault of the change, which is still on trial: nothing is rolled back.
    for _ in range(8):
        status = driven.wait_for(lambda body: isinstance(body, Status))
        assert isinstance(status, Status)
        assert not status.workers.get("face")
    config.write_text(config.read_text().replace("count: 0", "count: 1"))
    driven.wait_for(lambda body: isinstance(body, Status) and body.workers.get("face") == 1)


def line_of_stderr(worker: Driven, wanted: str) -> str:
    assert worker.process.stderr is not None
    for line in worker.process.stderr:
        if wanted in line:
            return line
    raise AssertionError(f"it never said {wanted!r}")


def test_a_worker_with_another_model_gets_no_jobs_and_both_sides_say_so(
    live: tuple[Driven, str], server: Machine, tmp_path: Path, port: int
) -> None:
    driven, key = live
    away = Machine(tmp_path / "away")
    assert server.run("keys", "allow", away.key(), "--name", "other", "--work")[0] == 0
    config = tmp_path / "other.yaml"
    config.write_text(f"models: {{face-static: '{make_face_static(tmp_path / 'other.onnx')}'}}\n")
    work = ("work", "face", "--at", f"tcp://127.0.0.1:{port}", "--server-key", key, "--config", config, "--own-models")
    with Driven(*work, session=SESSION, environment=away.environment) as worker:
        assert "its models differ from those here (face-static)" in line_of_stderr(worker, "gives no jobs")
        beat = driven.wait_for(
            lambda body: isinstance(body, Heartbeat) and body.name.startswith("other: ") and body.because is not None
        )
        assert isinstance(beat, Heartbeat)
        assert "its models differ" in str(beat.because)
        assert beat.figures.get("done", 0) == 0
        code, out, _ = server.run("status", "--session", SESSION)
        assert code == 3
        assert "gets no jobs: its models differ" in out


def test_a_worker_is_sent_the_models_of_this_machine_and_those_of_a_swap(
    live: tuple[Driven, str], server: Machine, tmp_path: Path, port: int
) -> None:
    driven, key = live
    away = Machine(tmp_path / "away")
    assert server.run("keys", "allow", away.key(), "--name", "follower", "--work")[0] == 0
    own = tmp_path / "own.yaml"
    own.write_text(f"models: {{face-static: '{make_face_static(tmp_path / 'own.onnx')}'}}\nface: {{min_size: 99}}\n")
    work = ("work", "face", "--at", f"tcp://127.0.0.1:{port}", "--server-key", key, "--config", own)

    def works_with(model: str) -> Callable[[object], bool]:
        return lambda body: (
            isinstance(body, Heartbeat)
            and body.name.startswith("follower: ")
            and body.models.get("face-static", "").startswith(model)
            and body.because is None
        )

    with Driven(*work, session=SESSION, environment=away.environment) as worker:
        driven.wait_for(works_with("face-robust@"))
        config = Path(driven.process.args[driven.process.args.index("--config") + 1])  # type: ignore[index, union-attr, arg-type]
        before = config.read_text()
        other, third = (make_face_static(tmp_path / f"{name}.onnx", name=name) for name in ("swapped", "third"))
        swapped = before.replace("models: {", f"models: {{face-static: '{other}', ")
        try:
            config.write_text(swapped)
            driven.wait_for(works_with("swapped@"))
            # With no worker here it follows, too.
            config.write_text(swapped.replace("count: 1", "count: 0").replace(str(other), str(third)))
            driven.wait_for(works_with("third@"))
            driven.wait_for(lambda body: isinstance(body, Emotion) and body.models["face-static"].startswith("third@"))
            end = time.monotonic() + PATIENCE_S  # what the broker knows of workers comes once a second
            while (found := server.run("status", "--session", SESSION))[0] and time.monotonic() < end:
                time.sleep(0.5)
            assert found[0] == 0, found
            assert "face: no worker here, 1 on other machines" in found[1]
        finally:
            config.write_text(before)
        driven.wait_for(works_with("face-robust@"))
        worker.interrupt()
        assert worker.finish()[0] == 0
    received = list(tmp_path.rglob("received/*.onnx"))
    sizes = sorted(path.stat().st_size for path in (other, third))
    assert sorted(path.stat().st_size for path in received) == sizes, "what ships was not sent"


def test_a_worker_of_another_protocol_version_is_told_and_so_is_this_machine(
    live: tuple[Driven, str], server: Machine, tmp_path: Path, port: int
) -> None:
    _, key = live
    away = Machine(tmp_path / "away")
    assert server.run("keys", "allow", away.key(), "--name", "later", "--work")[0] == 0
    program = (
        "import sys, bimodal.broker.messages as messages; messages.PROTOCOL_VERSION = 99; "
        f"sys.argv = ['bimodal', 'work', 'face', '--at', 'tcp://127.0.0.1:{port}', '--server-key', {key!r}]; "
        "from bimodal.cli import main; main()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", program], env=away.environment, cwd=REPOSITORY, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert worker.stderr is not None
        assert any("install the same version of bimodal on both" in line for line in worker.stderr)
        end = time.monotonic() + PATIENCE_S
        while "it speaks protocol version 99" not in server.run("status", "--session", SESSION)[1]:
            assert time.monotonic() < end, "this machine never said so"
    finally:
        worker.terminate()
        worker.wait()
        worker.stderr.close() if worker.stderr else None
