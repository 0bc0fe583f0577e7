"""Config values from the environment and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimodal.config import check_config, read_config
from bimodal.config.expansion import expand
from bimodal.workers import redaction
from bimodal.workers.errors import ConfigError
from bimodal.workers.redaction import redact


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})


def test_variables_stand_in_any_text_and_are_escaped_in_the_credentials_of_an_address() -> None:
    environment = {"CAM_PASSWORD": "p@ss/w#rd", "FOLDER": "/srv", "USER_": "admin"}
    values = {
        "url": "rtsp://${USER_}:${CAM_PASSWORD}@cam/${FOLDER}",
        "list": ["${FOLDER}/a", 3],
        "plain": "$${FOLDER} $5",
    }
    assert expand(values, environment) == {
        "url": "rtsp://admin:p%40ss%2Fw%23rd@cam//srv",
        "list": ["/srv/a", 3],
        "plain": "${FOLDER} $5",
    }
    assert redact("it was p@ss/w#rd in /srv") == "it was *** in /srv", "a secret is hidden from now on, a folder is not"


def test_files_hold_secrets(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef-token\n")
    config = check_config({"outputs": {"view": {"token_file": str(tmp_path / "token")}}}, "config")
    assert config.outputs.view.token == "0123456789abcdef-token"
    config = check_config({"streams": {"a": {"url": f"rtsp://a:${{file:{tmp_path / 'token'}}}@cam/"}}}, "config")
    assert config.streams["a"].url == "rtsp://a:0123456789abcdef-token@cam/"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"streams": {"a": {"url": "rtsp://x:${NO_SUCH_VARIABLE_HERE}@cam/"}}},
            "streams.a.url': the environment",
        ),
        ({"outputs": {"view": {"token_file": "/no/such/file"}}}, "outputs.view.token_file': the file /no/such/file"),
        ({"outputs": {"view": {"token_file": "/dev/null"}}}, "is empty"),
        ({"outputs": {"view": {"token_file": "x", "token": "y"}}}, "not both"),
        ({"log": {"file": "${not a name}"}}, "names no variable"),
    ],
)
def test_what_is_missing_is_named_with_its_place(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(values, "config")
    assert sentence in str(caught.value)


def test_values_that_hold_themselves_are_refused() -> None:
    with pytest.raises(ConfigError, match="nests too deeply"):
        read_config(b"a: &a [*a]\n", "config")
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    with pytest.raises(ConfigError, match="too much"):
        read_config(bomb.encode(), "config")
