"""Access control of the HTTP API: host names, origins, tokens and their scopes, rate limits. Pure.

A website that a user opens can reach a server on their machine, so requests under a foreign host name (DNS rebinding)
and requests of other sites' pages are refused, token or not.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from bimodal.workers.http_api.problems import ProblemError, too_many
from bimodal.workers.http_api.settings import ApiSettings
from bimodal.workers.rate_limit import ClientLimits
from bimodal.workers.view.settings import is_loopback

Scope = Literal["open", "read", "control"]

# A WebSocket of a page can't send headers: it offers this name, then the token, as subprotocols.
SUBPROTOCOL = "bimodal"
BURST_S = 2.0
# Wrong tokens of one address: one in two seconds, and ten at once.
WRONG_PER_S, WRONG_BURST_S = 0.5, 20.0


class ApiAccess:
    """Decides about requests. Headers are maps from lower-case names to values; `now_s` is a monotonic clock."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.origins)
        self._requests = ClientLimits(settings.requests_per_s, BURST_S)
        self._wrong = ClientLimits(WRONG_PER_S, WRONG_BURST_S)

    def check(self, headers: Mapping[str, str], client: str, now_s: float) -> None:
        """Raise ProblemError for a foreign name or origin, and for too many requests of the address `client`."""
        host = headers.get("host", "")
        if not self._is_own_host(host):
            raise ProblemError(403, "foreign_host", "This server answers under its own name only.")
        origin = headers.get("origin")
        if origin is not None and not self.is_known_origin(origin) and _netloc(origin) != host.lower():
            raise ProblemError(
                403, "foreign_origin", "Another site's page may not use this server; outputs.api.origins allows some."
            )
        wait_s = self._requests.take(client, now_s)
        if wait_s:
            most = self._settings.requests_per_s
            raise too_many("too_many_requests", f"More than {most:g} requests a second come from your address.", wait_s)

    def is_known_origin(self, origin: str) -> bool:
        """True for sites named in the config."""
        return origin.lower() in self._origins

    def check_token(self, headers: Mapping[str, str], client: str, scope: Scope, now_s: float) -> None:
        """Raise ProblemError unless the token that a request shows, or its absence, suffices for this scope."""
        if scope == "open":
            return
        settings, given = self._settings, _token(headers)
        may_control = _same(given, settings.control_token)
        may_read = may_control or settings.token is None or _same(given, settings.token)
        if given is not None and not may_control and not _same(given, settings.token) and _has_tokens(settings):
            wait_s = self._wrong.take(client, now_s)
            if wait_s:
                raise too_many("too_many_wrong_tokens", "Too many wrong tokens came from your address.", wait_s)
            raise ProblemError(
                401,
                "wrong_token",
                "Your token is none of this server's.",
                {"www-authenticate": 'Bearer error="invalid_token"'},
            )
        if not may_read:
            raise _unauthorized("This needs a token: send 'Authorization: Bearer TOKEN'.")
        if scope == "control" and settings.control_token is None:
            raise ProblemError(
                403, "control_is_off", "Nothing may be changed here: set outputs.api.control_token in config.yaml."
            )
        if scope == "control" and not may_control:
            if given is None:
                raise _unauthorized("This needs the control token: send 'Authorization: Bearer TOKEN'.")
            raise ProblemError(403, "wrong_scope", "Your token may read; this needs outputs.api.control_token.")

    def _is_own_host(self, host: str) -> bool:
        """Beyond loopback the server may have any name, and the token protects it."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return bool(name) and (
            self._settings.token is not None or name == self._settings.host or is_loopback(name or "")
        )


def _unauthorized(sentence: str) -> ProblemError:
    return ProblemError(401, "no_token", sentence, {"www-authenticate": "Bearer"})


def _has_tokens(settings: ApiSettings) -> bool:
    return settings.token is not None or settings.control_token is not None


def _same(given: str | None, token: str | None) -> bool:
    """Compare in constant time."""
    return given is not None and token is not None and hmac.compare_digest(given.encode(), token.encode())


def _token(headers: Mapping[str, str]) -> str | None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    return offered[1] if len(offered) == 2 and offered[0] == SUBPROTOCOL else None


def _netloc(origin: str) -> str | None:
    """Host and port of an origin; None where it can't be parsed."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
