"""The running system, as the API sees it: requests to its supervisor over the control channel."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from bimodal.broker.control import (
    Accepted,
    ChangeRequest,
    ConfigReply,
    ConfigRequest,
    Request,
    ScaleRequest,
    StatusReply,
    StatusRequest,
    ask,
)
from bimodal.broker.errors import BrokerError, RefusedError
from bimodal.workers.http_api.problems import ProblemError

T = TypeVar("T")

AT_ONCE = 4
# Many clients that ask at once get one answer of the supervisor.
FRESH_S = 0.2
POLL_S = 0.2
# The sections of the config that an analysis depends on.
ANALYSED = ("emotions", "categories", "models", "runtime", "capture", "face", "audio", "fusion")

Mode = Literal["whole", "sections", "merge"]


class System:
    """One session. For use in one event loop."""

    def __init__(self, directory: Path) -> None:
        """`directory`: of the session's sockets."""
        self._directory = directory
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._status: StatusReply | None = None
        self._status_at = 0.0
        self._asking = asyncio.Lock()
        self._changing = asyncio.Lock()

    async def ask(self, request: Request, wanted: type[T], *, refusal: int = 409) -> T:
        """Send a request to the supervisor. Raises ProblemError: `refusal` where it refuses, 503 without an answer."""
        try:
            async with self._at_once:
                return await asyncio.to_thread(ask, self._directory, request, wanted)
        except RefusedError as error:
            raise ProblemError(refusal, "refused", str(error)) from error
        except (OverflowError, RecursionError) as error:  # whole numbers of more than 64 bits; lists within lists
            raise ProblemError(422, "wrong_values", "A number is too large, or the values nest too deeply.") from error
        except BrokerError as error:
            raise ProblemError(503, "no_answer", str(error), {"retry-after": "1"}) from error

    async def status(self) -> StatusReply:
        """The state of all processes and streams, a fifth of a second old at most."""
        async with self._asking:
            if self._status is None or time.monotonic() - self._status_at > FRESH_S:
                self._status = await self.ask(StatusRequest(), StatusReply)
                self._status_at = time.monotonic()
            return self._status

    async def config(self) -> ConfigReply:
        """The config in force, secrets hidden."""
        return await self.ask(ConfigRequest(), ConfigReply)

    async def analysis_config(self) -> dict[str, object]:
        """What an analysis needs of the config in force; there are no secrets in it."""
        config = (await self.config()).config
        return {section: config[section] for section in ANALYSED}

    async def scale(self, counts: dict[str, int]) -> Accepted:
        """Set numbers of workers."""
        return await self.ask(ScaleRequest(counts=counts), Accepted, refusal=422)

    async def change(self, values: dict[str, object], mode: Mode, wait_s: float) -> tuple[ConfigReply, bool]:
        """Change the config, and wait until the change is in force. Returns the config, and whether it is in force.

        Raises ProblemError: 422 where it is invalid, 409 where the change was given up.
        """
        async with self._changing:
            accepted = await self.ask(ChangeRequest(values=values, mode=mode), Accepted, refusal=422)
            reply = await self.config()
            if accepted.sentence == "nothing differs":
                return reply, True
            end = time.monotonic() + wait_s
            while reply.changing and time.monotonic() < end:
                await asyncio.sleep(POLL_S)
                reply = await self.config()
        reason = reply.given_up or reply.refused
        if not reply.changing and reason is not None:
            raise ProblemError(409, "given_up", f"All goes on as it was: {reason}")
        return reply, not reply.changing


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The config after a change.

    Attributes:
        in_force: false while the change is still being carried out.
        tried: how new workers did on real frames before they took over, in one sentence.
    """

    in_force: bool
    tried: str | None
    config: dict[str, object]
