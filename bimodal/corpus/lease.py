"""One driver at a time on an output folder at an address: a lease that its holder renews, and that expires with it.

The lease is an object, `corpus/lease.json`. Nobody compares clocks of two machines: whoever finds a lease watches it
for its term by a clock of its own. One that changes meanwhile has a holder that lives; one that does not is replaced.
A driver that can't renew its lease in time stops by itself.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from bimodal.corpus.results import CORPUS
from bimodal.corpus.store import Store, StoreError
from bimodal.errors import BimodalError

log = logging.getLogger(__name__)

LEASE = f"{CORPUS}/lease.json"
TERM_S = 30.0
RENEWALS = 4
"""Renewals within a term."""
SETTLE_S = 1.0
"""Two drivers that take a free lease at one moment both look again after so long, and the last one has it."""


class LeaseHeldError(BimodalError):
    """Another driver writes into the same output folder."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a lease.

    Attributes:
        owner: of this one taking; no two are equal.
        who: the holder, for people.
        machine: boot and PID namespace of the holder's machine, so that a process of the same one is known to be dead.
        pid, born: the holder's process, and when it began.
        beat: counts renewals.
    """

    owner: str
    who: str
    machine: str
    pid: int
    born: float
    beat: int = 0


def _this_machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return uuid.uuid4().hex  # nobody else's


def me() -> Holder:
    """A holder for this process."""
    pid = os.getpid()
    return Holder(
        owner=uuid.uuid4().hex,
        who=f"process {pid} on {platform.node()}",
        machine=_this_machine(),
        pid=pid,
        born=psutil.Process(pid).create_time(),
    )


def _surely_dead(holder: Holder) -> bool:
    """True where the holder was a process of this machine that is no more."""
    if holder.machine != _this_machine():
        return False
    try:
        return bool(abs(psutil.Process(holder.pid).create_time() - holder.born) > 1.0)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


class Lease:
    """The lease of a store; `take`, then `close`.

    Args:
        term_s: seconds without a renewal after which it counts as free.
        settle_s: see SETTLE_S.
    """

    def __init__(self, store: Store, *, term_s: float = TERM_S, settle_s: float = SETTLE_S) -> None:
        # Renewed by a thread, which has a connection of its own.
        self._store = Store(store.address, fresh=True)
        self._term_s, self._settle_s = term_s, settle_s
        self._holder = me()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost: str | None = None

    @property
    def lost(self) -> str | None:
        """Why the lease is no longer this driver's, in one sentence; None while it is."""
        return self._lost

    def take(self, on_wait: Callable[[str], None] = lambda _sentence: None) -> None:
        """Take the lease; wait for the term of one that nobody renews.

        Args:
            on_wait: called with one sentence before that.

        Raises LeaseHeldError where another driver holds it, StoreError where the store can't be used.
        """
        found = self._store.read(LEASE)
        if found is not None:
            self._wait_for(found, on_wait)
            self._store.remove([LEASE])
        if not self._store.create(LEASE, msgspec.json.encode(self._holder)):
            raise self._held(self._store.read(LEASE))
        time.sleep(self._settle_s)
        now = self._store.read(LEASE)
        if not self._is_mine(now):
            raise self._held(now)
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def _wait_for(self, found: bytes, on_wait: Callable[[str], None]) -> None:
        holder = _decoded(found)
        if holder is not None and _surely_dead(holder):
            return
        who = holder.who if holder is not None else "somebody"
        on_wait(f"{self._store.name} was last written by {who}: waiting up to {self._term_s:.0f} s to see if it lives")
        end = time.monotonic() + self._term_s
        while time.monotonic() < end:
            time.sleep(min(1.0, self._term_s / RENEWALS))
            now = self._store.read(LEASE)
            if now is None:
                return
            if now != found:
                raise self._held(now)

    def _is_mine(self, found: bytes | None) -> bool:
        holder = _decoded(found) if found is not None else None
        return holder is not None and holder.owner == self._holder.owner

    def _held(self, found: bytes | None) -> LeaseHeldError:
        holder = _decoded(found) if found is not None else None
        who = holder.who if holder is not None else "another run"
        return LeaseHeldError(
            f"{who} is writing to {self._store.name}, and results at an address have one driver at a time: wait for "
            "it, or use another folder"
        )

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(self._term_s / RENEWALS):
            try:
                if not self._is_mine(self._store.read(LEASE)):
                    self._lost = f"another run has taken over {self._store.name}"
                    return
                self._holder = msgspec.structs.replace(self._holder, beat=self._holder.beat + 1)
                self._store.put(LEASE, msgspec.json.encode(self._holder))
                renewed = time.monotonic()
            except StoreError as error:
                log.warning("the lease could not be renewed: %s", error)
                # Before the term is over, so that this driver has stopped when another one begins.
                if time.monotonic() - renewed > self._term_s * (RENEWALS - 1) / RENEWALS:
                    self._lost = f"the lease of {self._store.name} could not be renewed: {error}"
                    return

    def close(self) -> None:
        """Give the lease back; never raises."""
        self._over.set()
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        if self._lost is None:
            try:
                self._store.remove([LEASE])
            except StoreError as error:
                log.warning("the lease could not be given back: %s", error)


def _decoded(data: bytes) -> Holder | None:
    try:
        return msgspec.json.decode(data, type=Holder)
    except msgspec.MsgspecError:
        return None
