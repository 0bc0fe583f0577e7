"""The system behind `bimodal up`: follows edits of config.yaml, requests of `bimodal scale`, and the load.

It decides which rows are wanted; the supervisor's reconciler brings the processes in line with them.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from bimodal.broker.beats import BEAT_S, next_beat
from bimodal.broker.control import (
    Accepted,
    ChangeRequest,
    ConfigReply,
    ConfigRequest,
    ControlServer,
    PushReply,
    PushRequest,
    RecordRequest,
    Refused,
    Reply,
    Request,
    ScaleRequest,
    StatusRequest,
)
from bimodal.broker.paths import unpack
from bimodal.config import Between, Config, load_config
from bimodal.errors import BimodalError
from bimodal.supervisor import forks
from bimodal.supervisor.autoscale import KINDS, Load, LoadFollower, checked_counts, describe_scale
from bimodal.supervisor.child import output_for
from bimodal.supervisor.config_changes import changed_config
from bimodal.supervisor.probation import Key, Probation
from bimodal.supervisor.processes import TABLE, ProcessSpec, Role, Wanted, limited, processes
from bimodal.supervisor.provenance import begin_session, config_record, end_session
from bimodal.supervisor.session import Session
from bimodal.supervisor.supervisor import Supervisor
from bimodal.workers.errors import ConfigError
from bimodal.workers.settings import RecordActorSettings, RecordSettings
from bimodal.workers.view.listening import check_place

log = logging.getLogger(__name__)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The wanted system.

    Attributes:
        counts: numbers of workers that override the config's.
        by_hand: kinds whose number `bimodal scale` has set.
        recording: whether the streams are recorded, where the config says where to.
    """

    config: Config
    counts: dict[Role, int] = {}
    by_hand: frozenset[Role] = frozenset()
    recording: bool = True


class LiveSystem:
    """The processes of one live session.

    Attributes:
        begun: true once every process has been ready: from then on only the user ends the system.
    """

    def __init__(
        self,
        config: Config,
        files: Sequence[Path],
        session: Session,
        log_file: Path,
        secrets: Collection[Path] = (),
    ) -> None:
        """Start; `files`, of which a later one adds to those before it, and the files of `secrets` that they name are
        watched, whether they exist or not.

        Raises EndpointError, CatalogError and the like where the system can't run as the config says.
        """
        self.begun = False
        self._name = session.name
        self._watch = ConfigWatch(*files, secrets=secrets)
        self._recordings = Recordings(session.name)
        self._in_force = self._target = Target(config=config, recording=_begins_at_once(config))
        self._followers: dict[Role, LoadFollower] = {}
        self._follow_at = 0.0
        self._last_good = self._target
        self._of_file = config
        self._probation: Probation | None = None
        self._shares: dict[Key, float] = {}
        self._failing_before: frozenset[str] = frozenset()
        self._follow_config()
        rows = self._rows(self._target)
        # Before the first socket, which has threads.
        forks.provide([row.kind.entry for row in rows], output_for(log_file))
        self._control = ControlServer(session.directory)
        try:
            self.supervisor = Supervisor(session, rows, log_file)
        except BimodalError:
            self._control.close()
            raise
        for one in self._control.watched:
            self.supervisor.watch(one)

    def step(self, timeout_s: float) -> None:
        """Run one turn of the loop, of `timeout_s` at most."""
        self.supervisor.step(timeout_s)
        self._settle()
        self._control.serve(self._answer)
        now = time.monotonic()
        if self._watch.poll(now):
            self._reload()
        if now >= self._follow_at:
            self._follow_at = next_beat(now)
            self._follow(now)
            self._judge(now)

    @property
    def streams(self) -> set[str]:
        """Names of the streams that have a source, also of ended ones."""
        return {child.spec.stream for child in self.supervisor.children.values() if child.spec.stream is not None}

    def _rows(self, target: Target) -> list[ProcessSpec]:
        record = self._recordings.of(target.config) if target.recording else None
        wanted = Wanted(target.config, target.counts, record)
        return limited(processes(wanted, TABLE), target.config.workers.max_memory_mb)

    # -------------------------------------------------------------------------------- target

    def _change(self, target: Target) -> None:
        """Set another target. Raises a BimodalError, and changes nothing, where its rows can't be made."""
        rows = self._rows(target)
        self._check_places(target.config)
        self._remember_before()
        self._target = target
        self.supervisor.reconciler.change(rows, self.supervisor.now)

    def _remember_before(self) -> None:
        """Note what works before a change, to judge it by."""
        self._probation = None
        self._shares = self.supervisor.shares()
        children = self.supervisor.children.items()
        self._failing_before = frozenset(name for name, child in children if child.life.failing)

    def _check_places(self, config: Config) -> None:
        """Raise ViewError where the live page or the API would be served elsewhere, or otherwise, and can't be."""
        wanted, now = config.outputs, self._in_force.config.outputs
        keys = ("enabled", "host", "port", "tls_certificate", "tls_key")
        for place, before, what, section in (
            (wanted.view, now.view, "the live page", "outputs.view"),
            (wanted.api, now.api, "the HTTP API", "outputs.api"),
        ):
            if place.enabled and any(getattr(place, key) != getattr(before, key) for key in keys):
                check_place(place, what=what, section=section)

    def _judge(self, now: float) -> None:
        """Go back to the last good config where the newest change has made things worse."""
        if self._probation is None or self.supervisor.reconciler.changing:
            return
        failing = {
            name: child.life.reason
            for name, child in self.supervisor.children.items()
            if child.life.failing and name not in self._failing_before and child.spec.stream is None
        }
        reason = self._probation.regression(self.supervisor.streams, failing, now, self._starts())
        if reason is not None:
            log.warning("the change is rolled back: %s", reason)
            self._probation = None
            with contextlib.suppress(BimodalError):
                self._change(self._last_good)
            self.supervisor.refused = f"it was rolled back to the config before: {reason}"
        elif self._probation.over(now):
            self._probation = None

    def _starts(self) -> int:
        """Starts of all processes so far."""
        return sum(child.life.incarnation for child in self.supervisor.children.values())

    def _begin_probation(self, before: Target) -> None:
        """Watch the change that was just carried out; `before` is what to go back to."""
        if before.config is self._in_force.config or self._target is self._last_good:
            return
        same = {
            name
            for name, stream in self._in_force.config.streams.items()
            if before.config.streams.get(name) == stream and before.config.capture == self._in_force.config.capture
        }
        # Whether workers of other machines are there is said (nobody_works), and is no fault of the change.
        here = {row.kind.modality for row in self.supervisor.reconciler.rows()}
        shares = {key: share for key, share in self._shares.items() if key[0] in same and key[1] in here}
        self._last_good = before
        self._probation = Probation(shares, self.supervisor.streams, self.supervisor.now)

    def _settle(self) -> None:
        """Take over the target once its change is carried out, or drop it where that was given up."""
        self.begun = self.begun or self._all_have_begun()
        if self._target is self._in_force or self.supervisor.reconciler.changing:
            return
        given_up = self.supervisor.reconciler.given_up
        if given_up is None:
            before, self._in_force = self._in_force, self._target
            self._begin_probation(before)
        else:
            if self._target.config is not self._in_force.config:
                self.supervisor.refused = given_up
            self._target = self._in_force
        self._follow_config()

    def _all_have_begun(self) -> bool:
        """True once every process has been ready; optional ones, and all sources but one, may fail instead."""
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
        changed = self._watch.changed_secrets
        try:
            config = self._watch.load()
            if changed and config == self._of_file and self.supervisor.refused is None:
                return  # written again with the same content, or named for the first time
            for path in changed:
                log.info("the config is read again: the secret in %s has changed", path)
            self._adopt(config)
            self._of_file = config
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

    def _adopt(self, config: Config) -> None:
        """Set another config as the target; numbers set by hand hold where it says the same of them as before."""
        before = self._target.config.workers
        kept = {
            kind: count
            for kind, count in self._target.counts.items()
            if getattr(config.workers, kind).count == getattr(before, kind).count
        }
        by_hand = self._target.by_hand & frozenset(kept)
        same = config.outputs.record == self._target.config.outputs.record
        recording = self._target.recording if same else _begins_at_once(config)
        self._change(Target(config=config, counts=kept, by_hand=by_hand, recording=recording))

    # -------------------------------------------------------------------------------- requests

    def _answer(self, request: Request) -> Reply:
        try:
            match request:
                case StatusRequest():
                    return self.supervisor.report(self._name, self._watch.paths)
                case ScaleRequest():
                    return self._scale(request.counts)
                case ConfigRequest():
                    return self._config()
                case ChangeRequest():
                    return self._take_over(request)
                case PushRequest():
                    return self._push(request.stream)
                case RecordRequest():
                    return self._record(request.on)
        except BimodalError as error:
            return Refused(str(error))
        except Exception as error:  # whatever is in a request, what works must go on working
            log.exception("a request can't be done")
            return Refused(f"it met an unexpected {type(error).__name__}; the log has the details")

    def _config(self) -> Reply:
        """The config in force, or about to be."""
        reconciler = self.supervisor.reconciler
        return ConfigReply(
            config=config_record(self._target.config),
            files=tuple(str(path) for path in self._watch.paths if path.is_file()),
            in_files=self._target.config == self._of_file,
            changing=reconciler.changing,
            refused=self.supervisor.refused,
            given_up=reconciler.given_up,
            tried=reconciler.tried,
        )

    def _take_over(self, request: ChangeRequest) -> Reply:
        config = changed_config(self._target.config, request.values, request.mode)
        if config == self._target.config:
            return Accepted("nothing differs")
        self._adopt(config)
        self.supervisor.refused = None
        return Accepted("it is being taken over; it holds until the config file is edited")

    def _push(self, stream: str) -> Reply:
        config = self._target.config
        settings = config.streams.get(stream)
        if settings is None or not settings.push:
            pushed = ", ".join(name for name, one in config.streams.items() if one.push) or "none"
            raise ConfigError(
                f"nothing can be pushed into '{stream}': declare it under 'streams' in config.yaml as "
                f"{stream}: {{push: true}} (declared so: {pushed})"
            )
        return PushReply(
            slots=str(self.supervisor.slots),
            max_height=config.capture.max_height,
            memory_mb=config.capture.memory_mb,
            picture=settings.push != "sound",
            sound=settings.push != "picture" and bool(config.models.voices),
        )

    def _record(self, on: bool) -> Reply:
        section = self._target.config.outputs.record
        if section is None:
            return Refused("there is no folder for recordings: 'outputs.record' in config.yaml names one")
        if on != self._target.recording:
            log.info("recording %s by request", "begins" if on else "stops")
            self._change(msgspec.structs.replace(self._target, recording=on))
        return Accepted(f"recordings go below {section.folder}" if on else "nothing is recorded until it is asked for")

    def _scale(self, counts: Mapping[str, int]) -> Reply:
        wanted = checked_counts(counts, self._target.config)
        before = {kind: self._count(kind) for kind in wanted}
        by_hand = self._target.by_hand | frozenset(wanted)
        counts_wanted = self._target.counts | wanted
        self._change(msgspec.structs.replace(self._target, counts=counts_wanted, by_hand=by_hand))
        return Accepted(describe_scale(before, wanted))

    def _count(self, kind: Role) -> int:
        return sum(row.role == kind for row in self.supervisor.reconciler.rows())

    # -------------------------------------------------------------------------------- the load

    def _follow_config(self) -> None:
        """Follow the load where the config in force says {min, max} and `bimodal scale` has set no number."""
        followers: dict[Role, LoadFollower] = {}
        for kind in KINDS:
            wanted = getattr(self._target.config.workers, kind).count
            if isinstance(wanted, Between) and kind not in self._target.by_hand:
                known = self._followers.get(kind)
                same = known is not None and (known.least, known.most) == (wanted.min, wanted.max)
                followers[kind] = known if known is not None and same else LoadFollower(wanted.min, wanted.max)
        self._followers = followers

    def _follow(self, now: float) -> None:
        if self.supervisor.reconciler.changing:
            return
        for kind, follower in self._followers.items():
            count = self._count(kind)
            if not count:
                continue
            wanted = follower.wanted(count, self._load(kind, count, now))
            if wanted != count:
                log.info("the load wants %d %s workers instead of %d", wanted, kind, count)
                with contextlib.suppress(BimodalError):  # a file of the config is gone: its next edit reports that
                    self._change(msgspec.structs.replace(self._target, counts=self._target.counts | {kind: wanted}))
                return

    def _load(self, kind: Role, count: int, now: float) -> Load:
        modality = KINDS[kind]
        streams = self.supervisor.streams
        offered, dropped, done, failed = (
            sum(getattr(stream, what).get(modality, 0) for stream in streams)
            for what in ("offered", "dropped", "done", "failed")
        )
        # A worker holds one job, and one more in advance; other open jobs wait.
        waiting = max(0, offered - dropped - done - failed - 2 * count)
        return Load(now, offered, dropped, self.supervisor.busy_s(kind), waiting)

    def close(self) -> list[Path]:
        """Stop everything; returns the folders in which something was recorded."""
        self.supervisor.stop()
        self._control.close()
        return self._recordings.end()


def _begins_at_once(config: Config) -> bool:
    return config.outputs.record is None or config.outputs.record.begin == "at_once"


class Recordings:
    """The session folders of recordings: one for each version of `outputs.record` that was in force."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._known: dict[RecordSettings | None, RecordActorSettings | None] = {None: None}

    def of(self, config: Config) -> RecordActorSettings | None:
        """Settings of the recorder; None where nothing is recorded. Raises ConfigError where a folder can't be made."""
        wanted = config.outputs.record
        if wanted not in self._known:
            self._known[wanted] = begin_session(config, self._session, datetime.now().astimezone())
        return self._known[wanted]

    def end(self) -> list[Path]:
        """Close the folders; returns those in which something was recorded."""
        folders = [unpack(settings.record.folder) for settings in self._known.values() if settings is not None]
        return [folder for folder in folders if end_session(folder, datetime.now().astimezone())]


# config.yaml is polled at each beat. A poll takes microseconds and works on every file system, through links,
# and however an editor saves: by renaming a temporary file, or by truncating and writing again. A change counts once
# the file has been the same for a moment, so that a half-written one is not read.

POLL_EVERY_S = BEAT_S
SETTLED_S = 0.4


class FileVersion(NamedTuple):
    """Identity of one version of a file."""

    inode: int
    time_ns: int
    size: int


class ConfigWatch:
    """Watches the config files, and the files of secrets that they name, whether they exist yet or not.

    Attributes:
        paths: the config files.
        changed_secrets: where nothing but secrets has changed when `poll` was last true, their files; else empty.
    """

    def __init__(self, *paths: Path, secrets: Collection[Path] = ()) -> None:
        self.paths = paths
        self.changed_secrets: tuple[Path, ...] = ()
        self._secrets = frozenset(secrets)
        self._read = self._seen = self._versions()
        self._since = self._poll_at = 0.0

    def _versions(self) -> dict[Path, FileVersion | None]:
        return {path: _version_of(path) for path in (*self.paths, *self._secrets)}

    def poll(self, now: float) -> bool:
        """True once for each change of the files, when they have settled. `now` in seconds."""
        if now < self._poll_at:
            return False
        self._poll_at = next_beat(now, POLL_EVERY_S)
        versions = self._versions()
        if versions != self._seen:
            self._seen, self._since = versions, now
        if self._seen == self._read or now - self._since < SETTLED_S:
            return False
        changed = [path for path, version in self._seen.items() if self._read.get(path) != version]
        only_secrets = not any(path in self.paths for path in changed)
        self.changed_secrets = tuple(sorted(changed)) if only_secrets else ()
        self._read = self._seen
        return True

    def load(self, read: Callable[[Sequence[Path], set[Path]], Config] = load_config) -> Config:
        """Read the files as they are now.

        Raises ConfigError where one is wrong, gone, or empty, as a file is that is being written.
        """
        for path in self.paths:
            version = self._read[path]
            if version is not None and version.size == 0:
                raise ConfigError(f"{path} is empty")
        found: set[Path] = set()
        try:
            config = read(self.paths, found)
        except BaseException:
            self._name(self._secrets | found)  # what was not reached may be what mends it
            raise
        self._name(found)
        return config

    def _name(self, secrets: Collection[Path]) -> None:
        """Watch these files of secrets from now on; a new one as it is now."""
        new = {path: _version_of(path) for path in secrets if path not in self._secrets}
        kept = {path: version for path, version in self._read.items() if path in self.paths or path in secrets}
        self._secrets = frozenset(secrets)
        self._read = self._seen = {**kept, **new}


def _version_of(path: Path) -> FileVersion | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return FileVersion(status.st_ino, status.st_mtime_ns, status.st_size)
