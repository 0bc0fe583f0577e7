"""Sections of the outputs that send events to other programs: short forms, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimodal.config import check_config
from bimodal.workers.errors import ConfigError
from bimodal.workers.output_settings import MqttSettings, OscSettings, WebhookSettings, url_problem


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (False, None),
        (True, OscSettings()),
        (7000, OscSettings(port=7000)),
        ("7000", OscSettings(port=7000)),
        ("studio", OscSettings(host="studio")),
        ("10.0.0.7:7000", OscSettings(host="10.0.0.7", port=7000)),
        ("[fd00::7]:7000", OscSettings(host="fd00::7", port=7000)),
        ("fd00::7", OscSettings(host="fd00::7")),
        ({"host": "studio"}, OscSettings(host="studio")),
    ],
)
def test_a_place_has_short_forms(value: object, expected: OscSettings | None) -> None:
    assert check_config({"outputs": {"osc": value}}, "test").outputs.osc == expected


def test_the_port_of_an_mqtt_broker_follows_tls() -> None:
    assert MqttSettings().at == ("127.0.0.1", 1883)
    assert MqttSettings(tls=True).at == ("127.0.0.1", 8883)
    assert MqttSettings(host="broker", port=9001, tls=True).at == ("broker", 9001)


def test_an_address_alone_is_a_webhook() -> None:
    wanted = check_config({"outputs": {"webhook": "https://example.org/hook?x=1"}}, "test").outputs.webhook
    assert wanted == WebhookSettings(url="https://example.org/hook?x=1")


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ({"osc": []}, "must be true, false, a port"),
        ({"osc": 0}, "outputs.osc.port"),
        ({"osc": f"{'a' * 64}.example.org"}, "is no name of a host"),
        ({"mqtt": "mqtt://broker:1883"}, "is no name of a host"),
        ({"webhook": f"https://{'a' * 64}.org/"}, "must be an address such as https://"),
        ({"mqtt": {"password": "x"}}, "a 'password' needs a 'username'"),
        ({"mqtt": {"ca": "ca.pem"}}, "'ca' goes with 'tls: true'"),
        ({"mqtt": {"topic": "a/#"}}, "outputs.mqtt.topic"),
        ({"mqtt": {"topic": "/a"}}, "outputs.mqtt.topic"),
        ({"webhook": True}, "must be an address"),
        ({"webhook": {}}, "the key 'url' is missing"),
        ({"webhook": "ftp://example.org/"}, "must be an address such as https://"),
        ({"webhook": "file:///etc/passwd"}, "must be an address such as https://"),
        ({"webhook": "https://u:p@example.org/"}, "must not hold a user name or a password"),
        ({"webhook": "https://example.org:99999/"}, "its port is a number"),
        ({"webhook": "https://example.org/a b"}, "escape them as %XX"),
        ({"webhook": "https://example.org/\r\nX: y"}, "escape them as %XX"),
        ({"webhook": {"url": "https://example.org", "secret": "short"}}, "16"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(outputs: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config({"outputs": outputs}, "test")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_addresses_that_are_fine() -> None:
    assert all(url_problem(url) is None for url in ("http://127.0.0.1:8000", "https://x.org/y", "http://[::1]:80/z"))


def test_secrets_may_lie_in_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a-secret-in-a-file\n")
    mqtt = {"username": "u", "password_file": str(tmp_path / "secret")}
    hook = {"url": "https://example.org", "secret_file": str(tmp_path / "secret")}
    found = check_config({"outputs": {"mqtt": mqtt, "webhook": hook}}, "test").outputs
    assert found.mqtt is not None
    assert found.webhook is not None
    assert (found.mqtt.password, found.webhook.secret) == ("a-secret-in-a-file", "a-secret-in-a-file")


def test_secrets_stay_out_of_what_is_recorded() -> None:
    from bimodal.supervisor.provenance import config_record

    secrets = {"mqtt": {"username": "u", "password": "pass-word-of-mqtt"}}
    hook = {"url": "https://example.org/?token=in-the-address", "secret": "a-secret-of-the-hook"}
    record = str(config_record(check_config({"outputs": {**secrets, "webhook": hook}}, "test")))
    assert not any(word in record for word in ("pass-word-of-mqtt", "in-the-address", "a-secret-of-the-hook"))
