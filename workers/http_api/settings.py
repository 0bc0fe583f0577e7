"""The section `outputs.api` of config.yaml, and the limits of analyses."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bimodal.workers.view.settings import is_loopback

Token = Annotated[str, msgspec.Meta(min_length=16, max_length=256)]


class AnalyzeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `POST /v1/analyze`.

    Attributes:
        workers: clips at a time, each in a process of its own; 0: none is taken.
        queue: requests that may wait; more are answered by 429.
        max_mbytes: of a clip, in MB.
        max_seconds: that the work on a clip may take.
        max_memory_mb: of a worker, in MiB.
        idle_s: workers without work end after so long, so that they cost nothing while nobody asks.
    """

    workers: Annotated[int, msgspec.Meta(ge=0, le=64)] = 1
    queue: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 4
    max_mbytes: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 256
    max_seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 300.0
    max_memory_mb: Annotated[int, msgspec.Meta(ge=256)] = 4096
    idle_s: Annotated[float, msgspec.Meta(ge=1)] = 120.0


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP API: where it is served, who may use it, and how much; docs/http-api.md.

    Attributes:
        port: where to begin to look for a free one; 0 takes any.
        token: who shows it may read and analyse; None on loopback only.
        control_token: who shows it may also change things; None: nobody may.
        tls_certificate, tls_key: paths of PEM files, both or neither.
        origins: of sites whose pages may use it.
        requests_per_s: of one address, with twice as many at once after a pause.
        readers: of events, at a time.
    """

    enabled: bool = True
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8485
    token: Token | None = None
    control_token: Token | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    origins: tuple[
        Annotated[str, msgspec.Meta(pattern=r"^https?://[^/\s]+/?$", examples=["https://example.org"])], ...
    ] = ()
    requests_per_s: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 50.0
    readers: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 128
    analyze: AnalyzeSettings = AnalyzeSettings()

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("'tls_certificate' and 'tls_key' go together")
        if self.enabled and self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"host '{self.host}' is reachable from other machines and needs a 'token' of at least 16 characters"
            )
        if self.token is not None and self.token == self.control_token:
            raise ValueError("'control_token' must be another than 'token': who may read should not change things")
