"""The actor runtime: settings, main loop from start to clean stop, heartbeats, signals, the log.

A process is started as `python -m bimodal.workers MODULE:CLASS` with its ActorSettings as JSON in the environment
variable BIMODAL_ACTOR, or on stdin where that is "-"; `run` builds the actor and runs its main loop.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

import msgspec
import setproctitle

from bimodal import __version__
from bimodal.broker.beats import BEAT_S, next_beat
from bimodal.broker.mailbox import Beats, Mailbox
from bimodal.broker.messages import Ack, Body, Delivery, Heartbeat, Hello, LaneMessage, Modality, Role, State, Welcome
from bimodal.errors import BimodalError
from bimodal.workers.logs import STDERR, LogFile, QuietStream, log_uncaught_errors, reopen
from bimodal.workers.redaction import safe
from bimodal.workers.wakeup import signal_descriptor, wake_by_signals

log = logging.getLogger(__name__)

ENVIRONMENT_KEY = "BIMODAL_ACTOR"
FROM_STDIN = "-"
LOG_LEVEL_KEY = "BIMODAL_LOG_LEVEL"
# A heartbeat that is due while the process works comes from another thread, so much after its beat.
GRACE_S = 0.1

# Exit codes: done; refused, with the sentence in the heartbeat; unexpected error, with its traceback in the log.
DONE, REFUSED, BROKEN = 0, 1, 70
# Of a worker on another machine: to be started again, with the models that it was given.
RELOAD = 75

# One turn of an actor's loop that takes longer counts as hung, unless the actor says otherwise (`deadline_s`).
TURN_DEADLINE_S = 15.0

# Run inference at nice 5, so that broker, capture and fusion are scheduled first when all cores are busy.
WORKER_NICENESS = 5

_PR_SET_PDEATHSIG = 1
_T = TypeVar("_T")


class ActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Start-up settings of an actor, passed by the supervisor.

    Attributes:
        name: of the process ("face 2"), unique in the session; also its title in `ps`.
        incarnation: counts the starts under this name, from 1.
        role, modality: as registered with the broker.
        directory: of the session's sockets.
        slots: directory of the session's shared slots.
        log: path of the log file.
        parent: pid of the supervisor; the actor is killed when it ends.
        cores: CPUs the process is pinned to; empty for all.
        log_level: of its log; None takes that of the environment.
        own: the settings of this kind of actor, as JSON-like values.
    """

    name: str
    incarnation: int
    role: Role
    modality: Modality | None = None
    directory: str
    slots: str
    log: str | None = None
    parent: int = 0
    cores: tuple[int, ...] = ()
    log_level: str | None = None
    own: dict[str, object] = {}


class Actor(Protocol):
    """The methods that `run` calls on the actor of a process, all from one thread.

    Attributes:
        models: name and version of each loaded model, by its role ("face-static": "name@version").
    """

    models: dict[str, str]

    def on_connected(self) -> None:
        """Announce what we hold: the broker has registered us, for the first time or after a restart of its own."""

    def on_message(self, body: Body) -> None:
        """Handle one message of the broker."""

    def on_idle(self) -> None:
        """Do what is due while no message arrives; called after each quiet turn, by default at each beat (a second).

        An actor with an attribute `turn_s` that is not None waits for so many seconds at most.
        """

    def figures(self) -> dict[str, float]:
        """Plain numbers for the heartbeat."""

    def degraded_reason(self) -> str | None:
        """Why the actor is degraded (a camera was unplugged), in one sentence; None while it is healthy."""

    def finished(self) -> int | None:
        """The exit code once everything is done, None before."""

    def close(self) -> None:
        """Release all resources."""


class ActorClass(Protocol):
    """Build an actor: load its models, open its source. Raises subclasses of BimodalError."""

    def __call__(self, settings: ActorSettings, mailbox: Mailbox, /) -> Actor: ...


class Pulse:
    """Makes heartbeats, one at each beat of all processes: each 0.5 s, and without work each second."""

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self._due = 0.0
        self.models: dict[str, str] = {}
        self.address: str | None = None

    def now(self, state: State, because: str | None = None, figures: dict[str, float] | None = None) -> Heartbeat:
        """Make a heartbeat with this state; the next one is due at the next beat."""
        self._due = next_beat(time.monotonic(), BEAT_S)
        return Heartbeat(
            name=self._settings.name,
            incarnation=self._settings.incarnation,
            state=state,
            pid=os.getpid(),
            because=safe(because) if because is not None else None,
            figures=figures or {},
            models=self.models,
            address=self.address,
        )

    @property
    def due(self) -> bool:
        """True once a beat has passed since the last heartbeat."""
        return time.monotonic() >= self._due


class Heart:
    """Repeats heartbeats from a thread of its own, so that a process that works for long is not taken for a hung one.

    What is judged instead is the time of the work at hand: `begin` and `rest` mark it, and each heartbeat carries it.
    A process that rests says its heartbeats itself, and nothing is repeated.
    """

    def __init__(self, beats: Beats) -> None:
        self._beats = beats
        self._newest: Heartbeat | None = None
        self._next_at = 0.0
        self._began: float | None = None
        self._rests = False
        self._deadline_s = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)
        self._thread.start()

    def say(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat now, and repeat it until the next while there is work."""
        with self._lock:
            self._newest = heartbeat
            self._send()

    def begin(self, deadline_s: float) -> None:
        """Mark the begin of a piece of work that counts as hung after `deadline_s` (0: never)."""
        self._deadline_s = deadline_s
        self._began = time.monotonic()
        self._rests = False

    def rest(self) -> None:
        """Mark its end, and that the next heartbeat will be said in time."""
        self._began = None
        self._rests = True

    def _send(self) -> None:
        if self._newest is None:
            return
        began, now = self._began, time.monotonic()
        busy_s = 0.0 if began is None else round(now - began, 3)
        deadline_s = 0.0 if began is None else self._deadline_s
        self._next_at = next_beat(now, BEAT_S)
        self._beats.send(msgspec.structs.replace(self._newest, busy_s=busy_s, deadline_s=deadline_s))

    def _beat(self) -> None:
        while not self._stopped.wait(next_beat(now := time.monotonic(), BEAT_S) + GRACE_S - now):
            with self._lock:
                if not self._rests and time.monotonic() >= self._next_at:
                    self._send()

    def close(self) -> None:
        """Stop, and close the connection."""
        self._stopped.set()
        self._thread.join()
        self._beats.close()


class Stop:
    """A request to stop in order, set by SIGTERM; by Ctrl-C only in a process without a supervisor (`alone`)."""

    def __init__(self, *, alone: bool = False) -> None:
        self.asked = False
        wake_by_signals()
        signal.signal(signal.SIGTERM, self._ask)
        if not alone and hasattr(signal, "SIGHUP"):
            # logrotate sends it to all of us.
            signal.signal(signal.SIGHUP, lambda *_: reopen())
        # Ctrl-C reaches the whole process group; only the supervisor reacts, and stops its children in order.
        signal.signal(signal.SIGINT, self._ask if alone else signal.SIG_IGN)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


def read_settings() -> ActorSettings:
    """Read this process's settings from the environment, or from stdin if that says so.

    A process that was prepared waits here until it is wanted, and ends where it is not.
    """
    told: str | bytes = os.environ.pop(ENVIRONMENT_KEY)
    if told == FROM_STDIN:
        told = sys.stdin.buffer.read()
        if not told:
            raise SystemExit(DONE)
    return msgspec.json.decode(told, type=ActorSettings)


def own(settings: ActorSettings, kind: type[_T]) -> _T:
    """Convert the settings of this kind of actor to their type."""
    return msgspec.convert(settings.own, kind, strict=False)


def set_up(settings: ActorSettings) -> Stop:
    """Set process title, CPU affinity, niceness, log and signals, and die with the parent."""
    setproctitle.setproctitle(f"bimodal: {settings.name}")
    die_with_parent(settings.parent)
    if settings.cores:
        os.sched_setaffinity(0, settings.cores)
    if settings.role == "worker" and hasattr(os, "nice"):
        os.nice(WORKER_NICENESS)
    start_log(settings.log, settings.name, settings.log_level)
    faulthandler.enable()
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    return Stop()


def start_log(path: str | None, name: str, level: str | None = None) -> None:
    """Send the log, and anything libraries print, to a file; without a path to stderr. `level`: by default that of the
    environment, or INFO."""
    handler: logging.Handler
    try:
        handler = QuietStream(STDERR, name) if path is None else LogFile(Path(path), name, outputs=True)
    except OSError:  # its folder is gone, or its disk is full: work goes on without a log
        handler = QuietStream(STDERR, name)
    logging.basicConfig(level=level or os.environ.get(LOG_LEVEL_KEY, "INFO"), handlers=[handler])
    log_uncaught_errors()


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent ends; exit at once if it has ended already."""
    if not parent or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(DONE)


def run(build: ActorClass) -> int:
    """Run an actor from start to end. Returns the exit code."""
    settings = read_settings()
    stop = set_up(settings)
    hello = Hello(role=settings.role, modality=settings.modality, pid=os.getpid())
    mailbox = Mailbox(Path(settings.directory), settings.name, settings.incarnation, hello)
    return live(build, settings, mailbox, stop)


def refuse(reason: str) -> int:
    """Tell the supervisor why this process can't run. Returns the exit code."""
    settings = read_settings()
    set_up(settings)
    log.error("refused: %s", reason)
    mailbox = Mailbox(Path(settings.directory), settings.name, settings.incarnation, Hello(role=settings.role))
    mailbox.beat(Pulse(settings).now("failed", because=reason))
    mailbox.close()
    return REFUSED


def live(build: ActorClass, settings: ActorSettings, mailbox: Mailbox, stop: Stop) -> int:
    """Build the actor and run its loop, from the first heartbeat to the last. Returns the exit code."""
    descriptor = signal_descriptor()
    if descriptor is not None:
        mailbox.watch(descriptor, drain=True)
    pulse, heart = Pulse(settings), Heart(mailbox.beats())
    heart.say(pulse.now("starting"))
    code = _live(settings, mailbox, pulse, heart, stop, build)
    heart.close()
    mailbox.close()
    return code


def _live(settings: ActorSettings, mailbox: Mailbox, pulse: Pulse, heart: Heart, stop: Stop, build: ActorClass) -> int:
    actor: Actor | None = None
    try:
        actor = build(settings, mailbox)
        pulse.models = actor.models
        pulse.address = getattr(actor, "address", None)
        introduce = getattr(actor, "introduce", None)
        if introduce is not None:
            introduce(__version__)
        # Everything loaded so far lives as long as the process, so the collector need not scan it again.
        gc.collect()
        gc.freeze()
        code = _loop(actor, mailbox, pulse, heart, stop)
        reason = None if stop.asked else actor.degraded_reason()
        heart.say(pulse.now("stopped", because=reason, figures=actor.figures()))
    except BimodalError as error:
        log.info("refused: %s", error, exc_info=error)
        heart.say(pulse.now("failed", because=str(error)))
        return REFUSED
    except Exception as error:
        log.exception("an error of our own")
        sentence = f"{settings.name} met an unexpected {type(error).__name__}; the log has the details"
        heart.say(pulse.now("failed", because=sentence))
        return BROKEN
    else:
        return code
    finally:
        if actor is not None:
            actor.close()


def _loop(actor: Actor, mailbox: Mailbox, pulse: Pulse, heart: Heart, stop: Stop) -> int:
    heart.say(pulse.now("ready"))
    while not stop.asked:
        # An actor that does more than wait for messages (a window) sets a shorter turn.
        turn_s = getattr(actor, "turn_s", None)
        body = mailbox.receive(mailbox.quiet_s(time.monotonic()) if turn_s is None else turn_s)
        heart.begin(getattr(actor, "deadline_s", TURN_DEADLINE_S))
        if body is None:
            actor.on_idle()
        elif isinstance(body, Welcome):
            actor.on_connected()
        else:
            actor.on_message(body)
        code = actor.finished()
        if code is not None:
            heart.begin(0.0)
            return code
        if pulse.due:
            mailbox.flush()  # what others wait for does not wait for a heartbeat
            heart.say(pulse.now("ready", because=actor.degraded_reason(), figures=actor.figures()))
        heart.rest()
    heart.begin(0.0)
    heart.say(pulse.now("draining"))
    _take_the_rest(actor, mailbox, getattr(actor, "drain_s", 0.0))
    return DONE


QUIET_S = 0.1


def _take_the_rest(actor: Actor, mailbox: Mailbox, within_s: float) -> None:
    """Process what is under way to an actor that stops, until nothing has come for a moment."""
    end = time.monotonic() + within_s
    quiet = min(end, time.monotonic() + QUIET_S)
    while (now := time.monotonic()) < quiet:
        body = mailbox.receive(quiet - now)
        if body is None:
            actor.on_idle()
        elif not isinstance(body, Welcome):
            actor.on_message(body)
            quiet = min(end, time.monotonic() + QUIET_S)


# Receiving on the acknowledged lane.

ACK_EVERY = 16


class LaneReader:
    """Base of actors on the acknowledged lane; subclasses implement `receive`.

    Deliveries are acknowledged when the mailbox is empty, or every sixteenth, so that one Ack covers many.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self.models: dict[str, str] = {}
        self._mailbox = mailbox
        self._received = 0
        self._acknowledged = 0

    def receive(self, message: LaneMessage) -> None:
        """Process one message."""
        raise NotImplementedError

    def on_connected(self) -> None:
        """Begin counting anew: a new broker numbers its deliveries from 1."""
        self._received = self._acknowledged = 0

    def on_message(self, body: Body) -> None:
        """Process a delivery unless it was received before."""
        if not isinstance(body, Delivery) or body.number <= self._received:
            return
        self.receive(body.message)
        self._received = body.number
        if self._received - self._acknowledged >= ACK_EVERY or not self._mailbox.waiting():
            self._acknowledge()

    def _acknowledge(self) -> None:
        if self._received > self._acknowledged:
            self._acknowledged = self._received
            self._mailbox.send_soon(Ack(number=self._received))

    def on_idle(self) -> None:
        """Acknowledge all deliveries so far."""
        self._acknowledge()

    def degraded_reason(self) -> str | None:
        """None: a failure here fails a job or the process."""
        return None

    def finished(self) -> int | None:
        """None: runs until it is stopped."""
        return None
