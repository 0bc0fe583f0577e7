"""Text that is safe to show: no password, whatever characters it has, and no character that steers a terminal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers import redaction
from bimodal.workers.redaction import clean, clean_json, escape_hint, redact, remember_address, safe, shown_address

# What the password of a camera may hold; of the visible characters all are there that mean something in an address.
PASSWORDS = st.text("abcXYZ019@:/#?&= %!*'", min_size=6, max_size=20).filter(
    lambda text: text == text.strip() and any(char.isalpha() for char in text) and not text.startswith("/")
)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})


@pytest.mark.parametrize(
    ("password", "shown"),
    [
        ("S3cr3t", "rtsp://***@cam.local:554/live?w=3"),
        ("S3cr3t@x", "rtsp://***@cam.local:554/live?w=3"),
        ("S3c:r3t", "rtsp://***@cam.local:554/live?w=3"),
        ("S3c r3t", "rtsp://***@cam.local:554/live?w=3"),
        ("S3c/r3t", "rtsp://***@cam.local:554"),
        ("S3c#r3t", "rtsp://***@cam.local:554"),
        ("S3c?r3t", "rtsp://***@cam.local:554"),
        ("12/S3cr3t", "rtsp://***@cam.local:554"),
        ("p@S3/c@r3t", "rtsp://***@cam.local:554"),
    ],
)
def test_a_password_is_found_by_the_structure_of_its_address(password: str, shown: str) -> None:
    address = f"rtsp://admin:{password}@cam.local:554/live?w=3"
    assert shown_address(address) == shown
    for secret in ("S3cr", "S3c", "r3t"):
        assert secret not in redact(f"can't open '{address}': refused")


@given(password=PASSWORDS)
def test_no_part_of_any_password_is_shown(password: str) -> None:
    found = shown_address(f"rtsp://admin:{password}@cam/stream")
    assert found.startswith("rtsp://***@cam")
    assert password not in found
    assert found in ("rtsp://***@cam/stream", "rtsp://***@cam")


@given(password=PASSWORDS, around=st.sampled_from(["{} failed", "Failed: {} (401)", "'{}'"]))
def test_what_a_process_knows_is_hidden_wherever_a_library_puts_it(password: str, around: str) -> None:
    redaction._known.clear()
    address = f"rtsp://admin:{password}@cam/stream"
    remember_address(address)
    assert password not in redact(around.format(password))
    assert password not in redact(around.format(address))
    redaction._known.clear()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "pwd",
            "psw",
            "token",
            "api_key",
            "auth",
            "sig",
            "session",
            "sid",
            "code",
            "hmac",
            "jwt",
            "ticket",
        ),
        *(
            "access_token",
            "X-Amz-Signature",
            "X-Amz-Credential",
            "passphrase",
            "streamid",
            "Policy",
            "%74oken",
            "hdnts",
        ),
    ],
)
def test_parameters_of_the_usual_names_are_hidden(name: str) -> None:
    assert redact(f"http://cam/video?w=3&{name}=S3cr3t&h=2") == f"http://cam/video?w=3&{name}=***&h=2"


@pytest.mark.parametrize(
    "address",
    [
        "http://h/v#access_token=S3cr3t&x=1",
        "http://h/v?a=1,token=S3cr3t",
        "http://h/v?token=S3c#r3t&w=3",
        "http://h/v?loginpas=S3c&r3t",
        "http://h/v?user=admin&password=S3c r3t",
        "http://h/token=S3cr3t/list.m3u8",
        "http://h/v?u=admin&p=S3cr3t",
        "http://h/v?hdnts=exp=12~acl=/*~hmac=S3cr3t",
        "srt://h:9000?mode=caller&streamid=#!::u=admin,p=S3cr3t",
        "rtmp://h/app playpath=x pubUser=admin pubPasswd=S3cr3t",
        "http://h/?url=rtsp://admin:S3cr3t@cam/x",
        "http://h/?url=rtsp%3A%2F%2Fadmin%3AS3cr3t%40cam%2Fx",
        "http://h/?url=http://cam/?token%3DS3cr3t",
        "http://h/rtsp://admin:S3cr3t@cam/x",
        "rtsp:///admin:S3cr3t@cam/x",
        "rtsp:\\\\admin:S3cr3t@cam/x",
        "//admin:S3cr3t@cam/x",
        "x://admin:S3cr3t@cam/x",
        "rtsp://admin:S3c@r3t@[fe80::1%25eth0]:554/x",
        "https://hooks.example.org/services/T0/aB3dEfGh1jKS3cr3tlMn",
        "rtsps://cam:7441/aB3dEfGh1jKS3cr3tlMn?enableSrtp",
    ],
)
def test_a_secret_elsewhere_in_an_address_is_hidden(address: str) -> None:
    assert not any(part in shown_address(address) for part in ("S3c", "r3t")), shown_address(address)
    remember_address(address)
    assert not any(part in redact(f"can't open {address}: no") for part in ("S3c", "r3t"))


def test_what_stands_around_an_address_stays() -> None:
    assert redact("('http://h/?token=S3cr3t'): refused") == "('http://h/?token=***'): refused"


def test_a_known_password_is_hidden_in_every_spelling() -> None:
    remember_address("rtsp://admin:p%C3%A4ss'w%22rd@cam/x")
    for spelling in (
        "päss'w\"rd",
        "p%C3%A4ss'w%22rd",
        repr("päss'w\"rd"),
        json.dumps("päss'w\"rd"),
        "YWRtaW46cMOkc3MndyJyZA==",
    ):
        assert "***" in redact(f"Authorization: {spelling}!"), spelling
        assert "ss'w" not in redact(f"said {spelling}")


def test_addresses_within_addresses_without_end_are_taken() -> None:
    assert len(redact("http://x/" * 5000)) < 50_000
    assert "S3cr3t" not in redact("http://a?b=" * 50 + "http://c:S3cr3t@d")


def test_what_is_no_password_is_shown() -> None:
    for plain in ("http://host/team@home.mjpg", "http://127.0.0.1:8080/", "http://[::1]:8080/x", "see a@b.c at 12:30"):
        assert redact(plain) == plain


def test_it_is_said_how_to_escape() -> None:
    assert "@ as %40" in str(escape_hint("rtsp://a:b@c@cam/"))
    assert "/ as %2F" in str(escape_hint("rtsp://a:b/c@cam/"))
    assert escape_hint("rtsp://a:b%40c@cam/") is None
    assert escape_hint("rtsp://cam:554/") is None


@given(st.text())
def test_clean_text_is_one_printable_line(text: str) -> None:
    found = clean(text)
    assert all(char.isprintable() or char in redaction.JOINERS for char in found)
    found.encode()


def test_names_cannot_forge_lines_or_steer_a_terminal() -> None:
    assert clean("a\n2026-01-01 supervisor INFO all is well") == r"a\n2026-01-01 supervisor INFO all is well"
    assert clean("\x1b[2Jgone\u202eexe.mp4\u2028") == r"\x1b[2Jgone\u202eexe.mp4\u2028"
    assert clean("caf\udce9") == r"caf\udce9", "names that are no UTF-8 can be printed"
    assert clean("schöne Grüße, 你好, \u200d") == "schöne Grüße, 你好, \u200d"
    assert safe("rtsp://a:b@c/\x1b") == r"rtsp://***@c/\x1b"


@given(st.text())
def test_clean_json_is_the_same_json(text: str) -> None:
    found = clean_json(json.dumps({"a": [text]}, ensure_ascii=False))
    assert all(char.isprintable() or char in redaction.JOINERS for char in found)
    assert json.loads(found) == {"a": [text]}
