"""The system behind `bimodal up`: what config.yaml says, what `bimodal scale` asks for, what the load wants.

It reads, decides which rows are wanted, and hands them to the supervisor, which brings what runs in line with them.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from bimodal.broker.control import Accepted, ControlServer, Refused, Reply, Request, StatusRequest
from bimodal.config import Between, Config, load_config
from bimodal.errors import BimodalError
from bimodal.supervisor.autoscale import KINDS, Load, LoadFollower, checked_counts, describe_scale
from bimodal.supervisor.processes import TABLE, ProcessSpec, Role, Wanted, limited, processes
from bimodal.supervisor.provenance import begin_session, end_session
from bimodal.supervisor.session import Session
from bimodal.supervisor.status import report
from bimodal.supervisor.supervisor import Supervisor
from bimodal.workers.errors import ConfigError
from bimodal.workers.settings import RecordActorSettings, RecordSettings

log = logging.getLogger(__name__)

FOLLOW_EVERY_S = 1.0


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the system is to be: a config, and numbers of workers that count instead of the config's; `by_hand` are the
    kinds whose number a person has given."""

    config: Config
    counts: dict[Role, int] = {}
    by_hand: frozenset[Role] = frozenset()


class LiveSystem:
    """Everything that runs for one session.

    Attributes:
        begun: whether every process has been ready once: from then on nothing but its user ends the system.
    """

    def __init__(self, config: Config, file: Path, session: Session, log_file: Path) -> None:
        """Begin; `file` is watched, whether it is there or not.

        Raises EndpointError, CatalogError and the like where the system can't be as the config says.
        """
        self.begun = False
        self._name = session.name
        self._watch = ConfigWatch(file)
        self._recordings = Recordings(session.name)
        self._in_force = self._wanted = Wish(config=config)
        self._followers: dict[Role, LoadFollower] = {}
        self._follow_at = 0.0
        self._follow_config()
        rows = self._rows(self._wanted)
        self._control = ControlServer(session.directory)
        try:
            self.supervisor = Supervisor(session, rows, log_file)
        except BimodalError:
            self._control.close()
            raise

    def step(self, timeout_s: float) -> None:
        """One turn, of about `timeout_s`."""
        self.supervisor.step(timeout_s)
        self._settle()
        self._control.serve(self._answer)
        now = time.monotonic()
        if self._watch.look(now):
            self._reload()
        if now >= self._follow_at:
            self._follow_at = now + FOLLOW_EVERY_S
            self._follow(now)

    @property
    def streams(self) -> set[str]:
        """The streams that have a source, whether it is over or not."""
        return {child.spec.stream for child in self.supervisor.children.values() if child.spec.stream is not None}

    def _rows(self, wish: Wish) -> list[ProcessSpec]:
        wanted = Wanted(wish.config, wish.counts, self._recordings.of(wish.config))
        return limited(processes(wanted, TABLE), wish.config.workers.max_memory_mb)

    # -------------------------------------------------------------------------------- what is wanted

    def _change(self, wish: Wish) -> None:
        """Want something else. Raises a BimodalError where it can't be, and then goes on as before."""
        rows = self._rows(wish)
        self._wanted = wish
        self.supervisor.change(rows)

    def _settle(self) -> None:
        """A change that has come to its end is in force, or was given up."""
        self.begun = self.begun or self._all_have_begun()
        if self._wanted is self._in_force or self.supervisor.changing:
            return
        given_up = self.supervisor.given_up
        if given_up is None:
            self._in_force = self._wanted
        else:
            if self._wanted.config is not self._in_force.config:
                self.supervisor.refused = given_up
            self._wanted = self._in_force
        self._follow_config()

    def _all_have_begun(self) -> bool:
        """Every process has been ready once; of the sources at least one, and the others fail."""
        children = self.supervisor.children.values()
        begun = {child.spec.name for child in children if child.was_ready or child.finished}
        some_source = any(child.spec.stream is not None and child.spec.name in begun for child in children)
        return all(
            child.spec.name in begun
            or (child.spec.stream is not None and child.life.failing and some_source)
            or (child.spec.kind.optional and child.life.failing)
            for child in children
        )

    def _reload(self) -> None:
        try:
            config = self._watch.load()
            before = self._wanted.config.workers
            kept = {
                kind: count
                for kind, count in self._wanted.counts.items()
                if getattr(config.workers, kind).count == getattr(before, kind).count
            }
            by_hand = self._wanted.by_hand & frozenset(kept)
            self._change(Wish(config=config, counts=kept, by_hand=by_hand))
        except BimodalError as error:
            log.warning("the edited config is not taken over: %s", error)
            self.supervisor.refused = str(error)
            return
        except Exception as error:  # whatever is in the file, what works must go on working
            log.exception("the edited config is not taken over")
            self.supervisor.refused = f"reading it met an unexpected {type(error).__name__}; the log has the details"
            return
        self.supervisor.refused = None
        if config.log != self._in_force.config.log:
            log.info("what the config says about the log counts from the next start on")

    # -------------------------------------------------------------------------------- requests

    def _answer(self, request: Request) -> Reply:
        if isinstance(request, StatusRequest):
            return report(self.supervisor, self._name, self._watch.path)
        try:
            return self._scale(request.counts)
        except BimodalError as error:
            return Refused(str(error))

    def _scale(self, counts: Mapping[str, int]) -> Reply:
        wanted = checked_counts(counts, self._wanted.config)
        before = {kind: self._count(kind) for kind in wanted}
        by_hand = self._wanted.by_hand | frozenset(wanted)
        counts_wanted = self._wanted.counts | wanted
        self._change(msgspec.structs.replace(self._wanted, counts=counts_wanted, by_hand=by_hand))
        return Accepted(describe_scale(before, wanted))

    def _count(self, kind: Role) -> int:
        return sum(row.role == kind for row in self.supervisor.rows())

    # -------------------------------------------------------------------------------- the load

    def _follow_config(self) -> None:
        """Follow the load where the config in force says {min, max} and nobody has given a number."""
        followers: dict[Role, LoadFollower] = {}
        for kind in KINDS:
            wanted = getattr(self._wanted.config.workers, kind).count
            if isinstance(wanted, Between) and kind not in self._wanted.by_hand:
                known = self._followers.get(kind)
                same = known is not None and (known.least, known.most) == (wanted.min, wanted.max)
                followers[kind] = known if known is not None and same else LoadFollower(wanted.min, wanted.max)
        self._followers = followers

    def _follow(self, now: float) -> None:
        if self.supervisor.changing:
            return
        for kind, follower in self._followers.items():
            count = self._count(kind)
            if not count:
                continue
            wanted = follower.wanted(count, self._load(kind, count, now))
            if wanted != count:
                log.info("the load wants %d %s workers instead of %d", wanted, kind, count)
                with contextlib.suppress(BimodalError):  # a file of the config is gone: whoever edits it is told
                    self._change(msgspec.structs.replace(self._wanted, counts=self._wanted.counts | {kind: wanted}))
                return

    def _load(self, kind: Role, count: int, now: float) -> Load:
        modality = KINDS[kind]
        streams = self.supervisor.streams
        offered, dropped, done, failed = (
            sum(getattr(stream, what).get(modality, 0) for stream in streams)
            for what in ("offered", "dropped", "done", "failed")
        )
        # A worker holds one job, and one more in advance; the rest of what is open waits.
        waiting = max(0, offered - dropped - done - failed - 2 * count)
        return Load(now, offered, dropped, self.supervisor.busy_s(kind), waiting)

    def close(self) -> list[Path]:
        """Stop everything; the folders in which something was recorded."""
        self.supervisor.stop()
        self._control.close()
        return self._recordings.end()


class Recordings:
    """The session folders of recordings: one for each thing that the config has said of them."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._known: dict[RecordSettings | None, RecordActorSettings | None] = {None: None}

    def of(self, config: Config) -> RecordActorSettings | None:
        """What the recorder is told, None where nothing is; raises ConfigError where a folder can't be made."""
        wanted = config.outputs.record
        if wanted not in self._known:
            self._known[wanted] = begin_session(config, self._session, datetime.now().astimezone())
        return self._known[wanted]

    def end(self) -> list[Path]:
        """Close the folders; those in which something was recorded."""
        folders = [Path(settings.record.folder) for settings in self._known.values() if settings is not None]
        return [folder for folder in folders if end_session(folder, datetime.now().astimezone())]


# Watches config.yaml while the system runs, by looking at it a few times a second.
#
# A look costs microseconds and works on every file system, through links, and whatever an editor does: a file written
# beside and renamed over, one that is cut off and written again, temporary files next to it. A change counts when the
# file has stayed the same for a moment, so that a half-written one is not read.


LOOK_EVERY_S = 0.2
SETTLED_S = 0.4


class Mark(NamedTuple):
    """What tells one state of a file from another."""

    inode: int
    time_ns: int
    size: int


class ConfigWatch:
    """One config file, whether it is there yet or not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = self._seen = _mark(path)
        self._since = self._look_at = 0.0

    def look(self, now: float) -> bool:
        """Whether the file has changed and settled; true once for each change. `now` in seconds."""
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY_S
        mark = _mark(self.path)
        if mark != self._seen:
            self._seen, self._since = mark, now
        if self._seen == self._read or now - self._since < SETTLED_S:
            return False
        self._read = self._seen
        return True

    def load(self, read: Callable[[Path], Config] = load_config) -> Config:
        """The file as it is now.

        Raises ConfigError where it is wrong, gone, or empty: that is how a file looks that is being written.
        """
        if self._read is not None and self._read.size == 0:
            raise ConfigError(f"{self.path} is empty")
        return read(self.path)


def _mark(path: Path) -> Mark | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return Mark(status.st_ino, status.st_mtime_ns, status.st_size)
