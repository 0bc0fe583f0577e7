"""Access control of the live page by host name, origin and token, and its security headers. Pure.

Every website that a user opens can reach a page on their machine. So requests under a foreign host name (DNS rebinding)
and WebSockets opened by other sites' pages (which carry cookies along) are refused, token or not.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Literal
from urllib.parse import urlsplit

from bimodal.workers.view.settings import is_loopback

Decision = Literal["enter", "foreign host", "foreign origin", "no token"]

# Reachable without the token: they reveal nothing of the streams.
OPEN_PATHS = frozenset({"/enter", "/livez", "/readyz", "/page/style.css", "/page/enter.css", "/page/icon.svg"})

# The events for programs; as subprotocols they may offer this name, then the token.
EVENTS_PATH, SUBPROTOCOL = "/events", "bimodal"

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "media-src blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def security_headers(*, camera: bool, trustworthy: bool = True) -> dict[str, str]:
    """Security headers of every response.

    Args:
        camera: whether the page may ask for the visitor's camera and microphone.
        trustworthy: whether the request came over HTTPS or on loopback; elsewhere browsers ignore the opener policy and
            log a warning.
    """
    devices = "(self)" if camera else "()"
    opener = {"cross-origin-opener-policy": "same-origin"} if trustworthy else {}
    return opener | {
        "content-security-policy": CONTENT_POLICY,
        "permissions-policy": f"camera={devices}, microphone={devices}, geolocation=(), display-capture=()",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-cache",
    }


class AccessControl:
    """Decides about requests. Headers are maps from lower-case names to values."""

    def __init__(self, host: str, token: str | None, origins: Collection[str] = ()) -> None:
        """`origins` are those of other sites whose pages may read events ("http://localhost:3000")."""
        self._host = host
        self._token = token
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def decide(self, headers: Mapping[str, str], path: str, *, websocket: bool) -> Decision:
        """Let a request enter, or say why it may not."""
        host = headers.get("host", "")
        if not self._is_own_host(host):
            return "foreign host"
        origin = headers.get("origin")
        # The config may let other origins read events; visitors' cameras are for our own page only.
        known = path == EVENTS_PATH and origin is not None and origin.lower() in self._origins
        if websocket and origin is not None and _netloc(origin) != host.lower() and not known:
            return "foreign origin"
        if path in OPEN_PATHS or self._has_token(headers):
            return "enter"
        return "no token"

    def _is_own_host(self, host: str) -> bool:
        """Beyond loopback the page may have any name, and the token protects it."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return bool(name) and (self._token is not None or name == self._host or is_loopback(name or ""))

    def _has_token(self, headers: Mapping[str, str]) -> bool:
        if self._token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        # A page of another site can't send headers or our cookie; it names the token as a subprotocol.
        offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
        if len(offered) == 2 and offered[0] == SUBPROTOCOL and self.is_token(offered[1]):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie_name(headers.get("host", "")))
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.cookie_value.encode())

    def is_token(self, given: str) -> bool:
        """Compare with the token in constant time."""
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())

    @property
    def cookie_value(self) -> str:
        """Value of the cookie that stands for the token; the same after a restart of the process."""
        return hmac.new((self._token or "").encode(), b"bimodal view", hashlib.sha256).hexdigest()

    @staticmethod
    def cookie_name(host: str) -> str:
        """Name of the cookie, with the port: all ports of a host share their cookies."""
        try:
            port = urlsplit(f"//{host}").port
        except ValueError:
            port = None
        return f"bimodal_{port or 'view'}"


def is_trustworthy(scheme: str, host: str) -> bool:
    """True where browsers treat this scheme and host name (with its port) as a secure context."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return scheme in ("https", "wss") or is_loopback(name)


def _netloc(origin: str) -> str | None:
    """Host and port of an origin; None where it can't be parsed."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
