"""The live page's socket: where it listens, and whether it could. Without the server's libraries."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from bimodal.workers.errors import ViewError
from bimodal.workers.view.settings import ViewSettings

TRY_PORTS = 32
BACKLOG = 128


def listen(settings: ViewSettings, before: int | None = None) -> socket.socket:
    """Open a socket at the configured port, or at the next free one.

    Args:
        before: the port that the process had before a restart; open pages reconnect to it, so it is tried first.

    Raises ViewError where the host does not belong to this machine or no port is free.
    """
    last: OSError | None = None
    ports = range(settings.port, settings.port + (TRY_PORTS if settings.port else 1))
    for port in ports if before is None else (before, *ports):
        try:
            family, _, _, _, address = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM)[0]
            return socket.create_server(address, family=family, backlog=BACKLOG)
        except socket.gaierror as error:
            raise ViewError(f"the live page can't be served at '{settings.host}': there is no such host") from error
        except (OSError, OverflowError) as error:
            last = error if isinstance(error, OSError) else last
    reason = last.strerror if last is not None else "no such port"
    raise ViewError(
        f"the live page can't be served at {settings.host}, port {settings.port} and following ({reason}); "
        "change outputs.view in config.yaml"
    )


def check_page(settings: ViewSettings) -> None:
    """Raise ViewError where the page could not be served with these settings."""
    listen(settings).close()
    if settings.tls_certificate is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_certificate, settings.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise ViewError(
            f"the certificate {settings.tls_certificate} with the key {settings.tls_key} "
            f"can't be used: {error.strerror or error}"
        ) from error


def address_of(settings: ViewSettings, bound: socket.socket) -> str:
    """URL of the page, as a person types it."""
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}/"


class RememberedPort:
    """The port that the page has in this session, kept through restarts while the config asks for the same."""

    def __init__(self, file: Path, settings: ViewSettings) -> None:
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
