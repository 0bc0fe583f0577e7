"""What outputs over the network share: trust in certificates, and errors in words."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path

from bimodal.workers.errors import WorkerError


def trusted(key: str, ca: str | None) -> ssl.SSLContext:
    """What TLS connections trust: the certificates in a PEM file, or those of this system.

    Raises WorkerError, which names the `key` in config.yaml, where the file can't be read.
    """
    try:
        return ssl.create_default_context(cafile=str(Path(ca).expanduser()) if ca is not None else None)
    except (OSError, ssl.SSLError) as error:
        raise WorkerError(f"{key}: {ca} can't be read as certificates in PEM: {error}") from error


def in_words(error: BaseException | None) -> str:
    """An error of the network, in a few words."""
    match error:
        case None:
            return "no connection"
        case TimeoutError():
            return "no answer in time"
        case ConnectionRefusedError():
            return "connection refused"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({error.verify_message})"
        case ssl.SSLError():
            return f"no TLS connection ({getattr(error, 'reason', None) or error})"
        case ConnectionResetError() | BrokenPipeError():
            return "it closed the connection without an answer"
        case OSError():
            return error.strerror or str(error)
        case http.client.HTTPException():
            return f"its answer is no HTTP ({type(error).__name__})"
        case _:
            return f"{type(error).__name__}: {error}"
