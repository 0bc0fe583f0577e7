"""Download of a file over HTTP: resumable, retried with growing pauses, bounded in size.

The standard library does the transfer: it honours HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and checks certificates against
the system's store. The file is not trusted: models/fetch.py checks its checksum before anything opens it.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import msgspec

from bimodal.models.errors import DownloadError

PIECE = 1 << 18
LIMIT_BYTES = 2 << 30
RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

# Called with the bytes received so far and the total (None: unknown).
Progress = Callable[[int, int | None], None]


class RetryPolicy(msgspec.Struct, frozen=True):
    """Retries and timeouts of a download.

    Attributes:
        attempts: consecutive failures without a new byte after which the download fails.
        pause_s: pause before the second attempt; doubles each time, up to `longest_pause_s`.
        timeout_s: silence of the server after which the rest is requested again.
    """

    attempts: int = 5
    pause_s: float = 1.0
    longest_pause_s: float = 30.0
    timeout_s: float = 30.0


DEFAULT_RETRIES = RetryPolicy()


class _BrokenOffError(Exception):
    """The transfer failed and may be retried, after `wait_s` if the server asked for that."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def download(
    url: str, part: Path, *, size: int | None = None, progress: Progress, retries: RetryPolicy = DEFAULT_RETRIES
) -> None:
    """Download `url` into `part`, resuming from its present size.

    Args:
        size: size of the whole file in bytes, if known; any other size is refused.
        part: grows while bytes arrive, and is complete only when this returns.

    Raises DownloadError if the address is not http(s), the server refuses, the file is too large, or retries end.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url} is no http or https address")
    part.parent.mkdir(parents=True, exist_ok=True)
    failures = 0
    while True:
        before = _size(part)
        try:
            _attempt(url, part, size, progress, retries.timeout_s)
            return
        except _BrokenOffError as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= retries.attempts:
                raise DownloadError(
                    f"{url} can't be fetched: {error} ({failures} attempts); run the same command again to go on "
                    f"where it stopped"
                ) from error
            pause = min(retries.pause_s * 2 ** (failures - 1), retries.longest_pause_s)
            time.sleep(max(pause, min(error.wait_s, retries.longest_pause_s)))


def _attempt(url: str, part: Path, size: int | None, progress: Progress, timeout_s: float) -> None:
    """Request the missing bytes once."""
    have = _size(part)
    if size is not None and have == size:
        return
    if size is not None and have > size:
        have = 0
    etag_file = part.with_name(part.name + ".etag")
    request = urllib.request.Request(url, headers=_headers(have, etag_file))  # noqa: S310 - the scheme is checked
    try:
        with _opener().open(request, timeout=timeout_s) as response:
            begin = have if response.status == 206 and _begins_at(response, have) else 0
            total = _total(response, begin)
            _check_size(url, total, size)
            _store_etag(etag_file, response.headers.get("ETag"))
            with part.open("r+b" if begin else "wb") as file:
                file.seek(begin)
                file.truncate()
                _receive(response, file, begin, total, size, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _BrokenOffError("the server has a shorter file than the part that is here") from error
        if error.code in RETRY_STATUS:
            raise _BrokenOffError(f"the server says {error.code} {error.reason}", _retry_after(error)) from error
        raise DownloadError(f"{url} can't be fetched: the server says {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{url} can't be fetched: its certificate is not valid ({error.reason})") from error
        raise _BrokenOffError(str(error.reason)) from error
    except TimeoutError as error:
        raise _BrokenOffError(f"the server was silent for {timeout_s:g} s") from error
    except (ConnectionError, http.client.HTTPException) as error:
        raise _BrokenOffError(f"the connection broke ({error})") from error
    except OSError as error:
        raise DownloadError(f"{part} can't be written: {error}") from error


def _receive(
    response: http.client.HTTPResponse,
    file: BinaryIO,
    have: int,
    total: int | None,
    size: int | None,
    on_progress: Progress,
) -> None:
    on_progress(have, total)
    while piece := response.read1(PIECE):  # returns what has arrived, so that a stall loses nothing
        have += len(piece)
        if have > (size or LIMIT_BYTES):
            raise DownloadError(f"{response.url} sends more than the {size or LIMIT_BYTES} bytes it may have")
        file.write(piece)
        file.flush()
        on_progress(have, total)
    expected = size if size is not None else total
    if expected is not None and have < expected:
        raise _BrokenOffError(f"it broke off after {have} of {expected} bytes")


def _headers(have: int, etag_file: Path) -> dict[str, str]:
    """Headers that request the rest of the file, or all of it if it has changed since."""
    headers = {"User-Agent": "bimodal", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if etag_file.is_file():
            headers["If-Range"] = etag_file.read_text(encoding="ascii")
    return headers


def _store_etag(etag_file: Path, etag: str | None) -> None:
    """Store a strong ETag. A weak one may not be used to resume, since it does not identify the bytes."""
    if etag and etag.isascii() and not etag.startswith("W/"):
        etag_file.write_text(etag, encoding="ascii")
    else:
        etag_file.unlink(missing_ok=True)


def _begins_at(response: http.client.HTTPResponse, have: int) -> bool:
    found = response.headers.get("Content-Range", "")
    if not found.startswith(f"bytes {have}-"):
        raise _BrokenOffError(f"the server sent another range ({found or 'none'}) than was asked for")
    return True


def _total(response: http.client.HTTPResponse, begin: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return begin + int(length) if length.isdigit() else None


def _check_size(url: str, total: int | None, size: int | None) -> None:
    if size is not None and total is not None and total != size:
        raise DownloadError(f"{url} is not the file that the catalog knows: it has {total} bytes, not {size}")
    if total is not None and total > LIMIT_BYTES:
        raise DownloadError(f"{url} has {total} bytes, more than the {LIMIT_BYTES} that a model may have")


def _retry_after(error: urllib.error.HTTPError) -> float:
    value = error.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0


def _opener() -> urllib.request.OpenerDirector:
    """Make an opener for http and https only: urllib's default would also follow ftp, file and data URLs."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
