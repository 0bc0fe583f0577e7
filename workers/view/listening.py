"""Sockets of HTTP servers: where they listen, and whether they could. Without the server's libraries."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Protocol

from bimodal.workers.errors import ViewError

TRY_PORTS = 32
BACKLOG = 128


class Place(Protocol):
    """Settings that say where a server listens: those of the live page, or of the HTTP API."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tls_certificate(self) -> str | None: ...
    @property
    def tls_key(self) -> str | None: ...


def listen(
    settings: Place, before: int | None = None, *, what: str = "the live page", section: str = "outputs.view"
) -> socket.socket:
    """Open a socket at the configured port, or at the next free one.

    Args:
        before: the port that the process had before a restart; open pages reconnect to it, so it is tried first.
        what, section: for sentences: the server, and where the config says its place.

    Raises ViewError where the host does not belong to this machine or no port is free.
    """
    last: OSError | None = None
    ports = range(settings.port, settings.port + (TRY_PORTS if settings.port else 1))
    for port in ports if before is None else (before, *ports):
        try:
            family, _, _, _, address = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM)[0]
            return socket.create_server(address, family=family, backlog=BACKLOG)
        except socket.gaierror as error:
            raise ViewError(f"{what} can't be served at '{settings.host}': there is no such host") from error
        except (OSError, OverflowError) as error:
            last = error if isinstance(error, OSError) else last
    reason = last.strerror if last is not None else "no such port"
    raise ViewError(
        f"{what} can't be served at {settings.host}, port {settings.port} and following ({reason}); "
        f"change {section} in config.yaml"
    )


def check_place(settings: Place, *, what: str = "the live page", section: str = "outputs.view") -> None:
    """Raise ViewError where a server could not listen with these settings."""
    listen(settings, what=what, section=section).close()
    if settings.tls_certificate is None:
        return
    import ssl  # takes as long to load as all the rest

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_certificate, settings.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise ViewError(
            f"the certificate {settings.tls_certificate} with the key {settings.tls_key} "
            f"can't be used: {error.strerror or error}"
        ) from error


def address_of(settings: Place, bound: socket.socket) -> str:
    """URL of the page, as a person types it."""
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}/"


class RememberedPort:
    """The port that the page has in this session, kept through restarts while the config asks for the same."""

    def __init__(self, file: Path, settings: Place) -> None:
        self._file = file
        self._wanted = f"{settings.host} {settings.port}"

    def read(self) -> int | None:
        """The port of an earlier process of the same settings, else None."""
        try:
            wanted, _, port = self._file.read_text().rpartition(" ")
        except OSError:
            return None
        return int(port) if wanted == self._wanted and port.isdigit() else None

    def write(self, port: int) -> None:
        """Keep the port."""
        self._file.write_text(f"{self._wanted} {port}")
