"""Processes that are forked from `bimodal up` before it has threads, sockets or a config.

An interpreter that is started anew spends most of its time before it is ready on libraries that the command has loaded
already. A fork has them, and shares their memory. It loads what only its own kind of process needs while the command
still reads its config, and then waits for its settings. It is used for the first start of a process only, and where the
command is single-threaded: everything after that, and other systems than Linux, starts interpreters of its own.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import setproctitle

from bimodal.child_process import FOLDER, NOT_FOR_CHILDREN
from bimodal.workers import settings as _settings  # noqa: F401 - shared by all
from bimodal.workers.__main__ import main
from bimodal.workers.actor import BROKEN, DONE, ENVIRONMENT_KEY

FIRST = ("broker:main", "fusion.actor:FusionActor", "face.actor:FaceActor", "capture.actor:CaptureActor")
"""Entries of the processes that nearly every system has, and without which there is no event."""

TRY_EVERY_S = 0.01


class Forked:
    """A forked process, with what is used of subprocess.Popen.

    Attributes:
        pid: of the process.
        returncode: None while it runs; the negative number of the signal that ended it.
    """

    def __init__(self, name: str, run: Callable[[], int], told: int, output: int | None) -> None:
        """Fork; the child never returns from here.

        Args:
            name: of the process.
            run: what it runs; returns the exit code.
            told: the descriptor that its stdin becomes.
            output: where its stdout and stderr go: subprocess.DEVNULL, a descriptor, or None for ours.
        """
        self.returncode: int | None = None
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(name, run, told, output)

    def poll(self) -> int | None:
        """The exit code once it has ended, else None."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it
                self.returncode = BROKEN
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises subprocess.TimeoutExpired after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left_s = None if end is None else end - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            self._await_end(left_s)
        return code

    def _await_end(self, left_s: float | None) -> None:
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            time.sleep(TRY_EVERY_S)
            return
        try:
            waiting = select.poll()
            waiting.register(descriptor, select.POLLIN)
            waiting.poll(None if left_s is None else left_s * 1000)
        finally:
            os.close(descriptor)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""
        self.send_signal(signal.SIGTERM)


class Fork(Forked):
    """A forked process of workers/, which waits for its settings.

    Attributes:
        entry: what it runs, MODULE:NAME below bimodal.workers.
        output: where its stdout and stderr go.
    """

    def __init__(self, entry: str, output: int | None = subprocess.DEVNULL) -> None:
        """Fork; the child never returns from here."""
        self.entry = entry
        self.output = output
        told, self._pipe = os.pipe()
        super().__init__(entry.partition(":")[0].partition(".")[0], partial(_wait_and_run, entry), told, output)
        os.close(told)

    def load(self, *modules: str) -> None:
        """Have it load modules of bimodal.workers; raises OSError where it has ended."""
        _write(self._pipe, "".join(f"{module}\n" for module in modules).encode())

    def tell(self, settings: bytes) -> None:
        """Give it its settings, one line of JSON; raises OSError where it has ended."""
        _write(self._pipe, settings + b"\n")
        os.close(self._pipe)

    def discard(self) -> None:
        """End it before it was told anything."""
        self.kill()
        self.wait()
        os.close(self._pipe)


def _write(pipe: int, data: bytes) -> None:
    while data:
        data = data[os.write(pipe, data) :]


# In the child.


def _become(name: str, run: Callable[[], int], told: int, output: int | None) -> None:
    """Run what the parent tells, and end; nothing of the parent's frames runs on."""
    code = BROKEN
    try:
        _let_go(told, output)
        setproctitle.setproctitle(f"bimodal: {name}")
        code = run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else DONE if error.code is None else BROKEN
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _end(code)


def _let_go(told: int, output: int | None) -> None:
    """Keep nothing of the parent's but its memory: no signal handlers, files, locks, log."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) is not signal.SIG_IGN:
            signal.signal(name, signal.SIG_DFL)
    # What was inherited lives as long as the process: the collector need not touch, and so copy, its pages.
    gc.freeze()
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(told, 0)
    if output is not None:
        target = nowhere if output == subprocess.DEVNULL else os.dup(output)
        os.dup2(target, 1)
        os.dup2(target, 2)
    # Not closed: objects of the parent's still hold these numbers, and would close what has them next.
    for number in [int(link.name) for link in Path("/proc/self/fd").iterdir()]:
        if number > 2:
            with suppress(OSError):
                os.dup2(nowhere, number, inheritable=False)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    _KEPT.extend(logging.root.handlers)
    logging.root.handlers.clear()
    for key in NOT_FOR_CHILDREN:
        os.environ.pop(key, None)
    # As -P does: a user's folder may hold a models.py of its own.
    if not sys.flags.safe_path:
        sys.path[:1] = []
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))


_KEPT: list[logging.Handler] = []
"""Handlers of the parent's log, which must not be closed here."""


def _wait_and_run(entry: str) -> int:
    """Load the modules whose names come, until the settings come; then run. Ends where none come."""
    loaded: list[str] = []
    for line in sys.stdin.buffer:
        if line.startswith(b"{"):
            os.environ[ENVIRONMENT_KEY] = line.decode().strip()
            return main(entry, *loaded)
        loaded.append(line.decode().strip())
        # What is missing is told in the log, once there is one.
        with suppress(ImportError):
            importlib.import_module(f"bimodal.workers.{loaded[-1]}")
    return DONE


def _end(code: int) -> None:
    """End as an interpreter does, without the exit functions of the parent."""
    with suppress(BaseException):
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    os._exit(code)


# In the parent: the forks that wait for their settings.

_waiting: list[Fork] = []
_begun = False


def begin(entries: Iterable[str] = FIRST) -> None:
    """Fork processes that will be needed, each of which loads what it needs at once. For the command's process only."""
    global _begun
    _begun = sys.platform.startswith("linux")
    for entry in entries:
        _fork(entry, subprocess.DEVNULL, load=True)


def provide(entries: Iterable[str], output: int | None) -> None:
    """Have one fork for each of these entries, where any were begun; new ones load nothing yet, others are ended."""
    lacking = list(entries)
    for fork in list(_waiting):
        if fork.output == output and fork.entry in lacking:
            lacking.remove(fork.entry)
        else:
            _waiting.remove(fork)
            fork.discard()
    for entry in lacking:
        _fork(entry, output, load=False)


def _fork(entry: str, output: int | None, *, load: bool) -> None:
    if not _begun or not single_threaded():
        return
    with suppress(OSError):
        fork = Fork(entry, output)
        _waiting.append(fork)
        if load:
            fork.load(entry.partition(":")[0])


def single_threaded() -> bool:
    """True where this process has one thread, of any library: only such a process may be forked."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


def take(entry: str, output: int | None) -> Fork | None:
    """A fork that waits for the settings of this kind of process; None where there is none."""
    for fork in list(_waiting):
        if fork.entry == entry and fork.output == output:
            _waiting.remove(fork)
            if fork.poll() is None:
                return fork
            fork.discard()
    return None


def discard_all() -> None:
    """End the forks that nothing needs."""
    while _waiting:
        _waiting.pop().discard()
