"""The window on the desk, on a real X server: it shows what is seen, and a key or its closing ends everything."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Body, Heartbeat
from tests.end_to_end.driving import Driven
from tests.end_to_end.screen import close_window, need_screen, screen, xdotool
from tests.media import face_clip


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    need_screen()
    with screen() as name:
        yield name


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two streams for ever, and a window."""
    folder = tmp_path_factory.mktemp("window")
    clip = face_clip(folder / "clip.mp4", 2.0)
    path = folder / "config.yaml"
    path.write_text(
        f"streams: {{desk: {{file: '{clip}', loop: true}}, 台所: {{file: '{clip}', loop: true}}}}\n"
        f"outputs: {{window: true, view: false}}\nlog: {{file: '{folder / 'log'}'}}\n"
    )
    return path


def up(config: Path, session: str, **display: str) -> Driven:
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return Driven("up", "--config", config, "--session", session, session=session, environment=environment | display)


def shows(body: Body) -> bool:
    return isinstance(body, Heartbeat) and body.name == "window" and body.figures.get("shown", 0) > 5


def shown(body: Body) -> float:
    assert isinstance(body, Heartbeat)
    return body.figures["shown"]


def press_q(display: str, window: str) -> None:
    xdotool(display, "windowfocus", window, "key", "q")


def close(display: str, window: str) -> None:
    close_window(display, int(window))


@pytest.mark.parametrize("leave", [press_q, close])
def test_it_shows_pictures_and_its_end_is_the_end_of_everything(
    config: Path, display: str, leave: Callable[[str, str], None]
) -> None:
    with up(config, "test-window", DISPLAY=display) as driven:
        driven.wait_for(shows)
        window = xdotool(display, "search", "--name", "^bimodal$").splitlines()[0]
        geometry = xdotool(display, "getwindowgeometry", window)
        assert "1280x360" in geometry, "two streams side by side"
        xdotool(display, "windowfocus", window, "key", "a", "space", "Return", "Up", "F5")
        more = shown(driven.wait_for(shows)) + 10
        driven.wait_for(lambda body: shows(body) and shown(body) > more)  # other keys do nothing
        leave(display, window)
        code, _, err = driven.finish()
        assert code == 0, err
        assert "stopping" in err
        assert driven.left_behind() == []


@pytest.mark.parametrize("where", [{}, {"DISPLAY": ":4099"}], ids=["none", "unreachable"])
def test_without_a_display_it_says_so_and_the_rest_goes_on(config: Path, where: dict[str, str]) -> None:
    with up(config, "test-no-display", **where) as driven:
        failed = driven.wait_for(lambda b: isinstance(b, Heartbeat) and b.name == "window" and b.state == "failed")
        assert isinstance(failed, Heartbeat)
        assert failed.because is not None
        assert "no window can be opened" in failed.because
        assert ("':4099'" if where else "DISPLAY is not set") in failed.because
        for _ in range(3):  # its own word, the supervisor's, and again for those who come to the bus later
            again = driven.wait_for(lambda b: isinstance(b, Heartbeat) and b.name == "window")
            assert isinstance(again, Heartbeat)
            assert (again.state, again.incarnation) == ("failed", failed.incarnation)
        for _ in range(10):
            driven.wait_for(lambda body: isinstance(body, Emotion))
        driven.interrupt()
        code, out, err = driven.finish()
        assert code == 0, err
        assert failed.because in out + err
        assert driven.left_behind() == []
