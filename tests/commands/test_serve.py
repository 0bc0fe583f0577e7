"""`bimodal serve`, typed as a user would."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import httpx
import pytest

from bimodal.commands.serve import settings_of, source_of
from bimodal.config import Config, check_config
from bimodal.options import documents_of
from bimodal.workers.errors import ConfigError
from tests.end_to_end.driving import PATIENCE_S, Driven
from tests.media import scene


def test_options_go_over_the_config() -> None:
    config = check_config({"outputs": {"api": {"port": 9000, "analyze": {"queue": 2}}}}, "test")
    settings = settings_of(config, None, 9001, 3, None)
    assert (settings.enabled, settings.port, settings.host) == (True, 9001, "127.0.0.1")
    assert (settings.analyze.workers, settings.analyze.queue) == (3, 2)
    assert settings_of(Config(), None, None, None, None).enabled, "it serves where the config has no API"
    with pytest.raises(ConfigError, match="is reachable from other machines and needs a 'token'"):
        settings_of(config, "0.0.0.0", None, None, None)


def test_the_config_and_where_its_tokens_are_from_are_said(tmp_path: Path) -> None:
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    (tmp_path / "token").write_text("t" * 20)
    files[0].write_text(f"outputs:\n  api:\n    token: {'s' * 20}\n")
    files[1].write_text(f"outputs:\n  api: {{control_token_file: {tmp_path / 'token'}}}\n")
    loaded, documents, found = documents_of(files)
    assert source_of(settings_of(loaded, None, None, None, None), documents, found) == (
        f"config {files[0]} and {files[1]}; requests need the token ({files[0]}, line 3) or the control_token "
        f"({files[1]}, line 2)"
    )
    open_to_all = settings_of(Config(), None, None, None, None)
    assert source_of(open_to_all, [], []) == "no config file, so the built-in defaults; requests need no token"


def test_it_serves_until_it_is_stopped_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("models: {speech: none, face-details: none, face-static: face-compact}\n")
    with Driven("serve", "--port", "0", cwd=tmp_path) as driven:
        assert driven.process.stdout is not None
        address = re.search(r"http://\S+/", driven.process.stdout.readline())
        assert address is not None
        picture = cv2.imencode(".png", scene(1)[..., ::-1])[1].tobytes()
        found = httpx.post(f"{address[0]}v1/analyze", content=picture, timeout=PATIENCE_S).json()
        assert [len(event["faces"]) for event in found["events"]] == [1]
        workers = driven.children()
        assert list(workers) == ["clips"]
        driven.interrupt()
        code, _, err = driven.finish()
        assert code == 0, err
        assert err.startswith("bimodal: config config.yaml; requests need no token\n")
        assert "Traceback" not in err
        assert not workers["clips"].is_running()


def test_what_can_not_be_served_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("models: {face-static: ./mine.onnx}\n")
    with Driven("serve", "--port", "0", cwd=tmp_path) as driven:
        code, _, err = driven.finish()
    assert code == 1
    assert "mine.onnx" in err
    assert "Traceback" not in err
