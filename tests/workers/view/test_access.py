"""Who is let in."""

from __future__ import annotations

import pytest

from bimodal.workers.view.access import AccessControl, is_trustworthy, security_headers
from bimodal.workers.view.settings import is_loopback

TOKEN = "a-token-of-sixteen-or-more"


def judged(access: AccessControl, path: str = "/stream", *, websocket: bool = True, **headers: str) -> str:
    return access.decide({"host": "127.0.0.1:8484"} | headers, path, websocket=websocket)


@pytest.mark.parametrize("host", ["127.0.0.1:8484", "localhost:8484", "[::1]:8484", "LOCALHOST", "127.0.0.1"])
def test_this_machine_is_let_in(host: str) -> None:
    assert judged(AccessControl("127.0.0.1", None), host=host) == "enter"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "a b", "[::1", "localhost.evil.example:8484"]
)
def test_a_name_that_another_site_has_given_to_this_machine_is_refused(host: str) -> None:
    assert judged(AccessControl("127.0.0.1", None), host=host) == "foreign host"


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null", "http://localhost:8484"])
def test_other_sites_pages_open_no_websocket(origin: str) -> None:
    assert judged(AccessControl("127.0.0.1", None), origin=origin) == "foreign origin"
    assert judged(AccessControl("127.0.0.1", TOKEN), origin=origin, authorization=f"Bearer {TOKEN}") == "foreign origin"


def test_our_own_page_and_programs_open_one() -> None:
    assert judged(AccessControl("127.0.0.1", None), origin="http://127.0.0.1:8484") == "enter"
    assert judged(AccessControl("127.0.0.1", None)) == "enter"


def test_beyond_loopback_the_token_decides_and_any_name_will_do() -> None:
    access = AccessControl("0.0.0.0", TOKEN)
    lab = {"host": "lab.local:8484"}
    name = access.cookie_name("lab.local:8484")
    assert judged(access, **lab) == "no token"
    assert judged(access, **lab, authorization="Bearer wrong") == "no token"
    assert judged(access, **lab, authorization=f"Basic {TOKEN}") == "no token"
    assert judged(access, **lab, cookie=f"{name}={'0' * 64}") == "no token"
    assert judged(access, **lab, cookie=f"{name}={TOKEN}") == "no token"
    assert judged(access, **lab, authorization=f"Bearer {TOKEN}") == "enter"
    assert judged(access, **lab, cookie=f"other=1; {name}={access.cookie_value}") == "enter"
    assert judged(access, "/enter", websocket=False, **lab) == "enter"


def test_a_cookie_tells_nothing_of_the_token_and_lasts_over_a_new_start() -> None:
    assert TOKEN not in AccessControl("x", TOKEN).cookie_value
    assert (
        AccessControl("x", TOKEN).cookie_value
        == AccessControl("y", TOKEN).cookie_value
        != AccessControl("x", TOKEN + "!").cookie_value
    )


def test_without_a_token_no_word_is_the_right_one() -> None:
    assert not AccessControl("127.0.0.1", None).is_token("")


def test_pages_ask_nobody_else_and_run_no_inline_script() -> None:
    policy = security_headers(camera=False)["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "camera=()" in security_headers(camera=False)["permissions-policy"]
    assert "camera=(self)" in security_headers(camera=True)["permissions-policy"]


@pytest.mark.parametrize(
    ("host", "near"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True), ("127.9.9.9", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.4", False), ("example.org", False)],
)  # fmt: skip
def test_what_loopback_is(host: str, near: bool) -> None:
    assert is_loopback(host) is near


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        ("https", "cam.example:8484", True),
        ("wss", "cam.example", True),
        ("http", "127.0.0.1:8484", True),
        ("ws", "localhost", True),
        ("http", "cam.example", False),
        ("http", "192.168.1.5:8484", False),
        ("http", "[::1", False),
    ],
)
def test_a_policy_that_browsers_heed_on_secure_pages_only_is_sent_to_them_only(
    scheme: str, host: str, expected: bool
) -> None:
    assert is_trustworthy(scheme, host) == expected
    headers = security_headers(camera=False, trustworthy=expected)
    assert ("cross-origin-opener-policy" in headers) == expected
