"""A live system under blows: strikes, and watches until the stream goes on and everything is as it was."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bimodal.broker.control import ProcessReport, StatusReply, StatusRequest, ask
from bimodal.broker.errors import BrokerError
from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.sockets import events_endpoint, session_directory, slots_directory
from tests.chaos.around import Bursts, answer_wrongly, flooding, starving
from tests.chaos.blows import AROUND, Blow
from tests.chaos.footprint import Footprint, look, steady
from tests.end_to_end.driving import PATIENCE_S
from tests.end_to_end.living import Living

LOOK_EVERY_S = 0.1
STEADY_LOOKS = 20
SOME_EVENTS = 5
# Frames are 40 ms apart; on a busy machine an event may be late by a few of them.
STOPPED_S = 0.25
MODELS = ("first", "second")
SUBSCRIPTIONS, FLOODED_S, STARVED_S, ROGUE_S = 100_000, 4.0, 8.0, 3.0


@dataclass(frozen=True)
class Recovery:
    """What a blow cost.

    Attributes:
        victim: the process that was hit, None where none was.
        events_s: seconds until events flowed again: the end of their longest pause, 0 where they never stopped.
        pause_s: that longest pause, from one event to the next.
        whole_s: seconds until every process was ready and nothing was changing any more.
        killed: whether a new process has taken the victim's place.
    """

    blow: Blow
    victim: str | None
    events_s: float
    pause_s: float
    whole_s: float
    killed: bool


class Attack:
    """A system with page, recording and a looped clip, and whoever strikes it. Ends with the context."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        """`sections` of the config beside those of every attack."""
        self.session = f"chaos-{os.getpid()}"
        self.directory, self.slots = session_directory(self.session), slots_directory(self.session)
        self._living = Living(folder)
        outputs = {"view": {"port": 0}, "record": str(folder / "recordings")}
        self._bursts = Bursts(self._living.clip)
        streams = self._living.values["streams"] | {"bursty": {"url": self._bursts.address}}
        self._living.write(outputs=outputs, streams=streams, **sections)
        self._said = (folder / "said").open("w")
        self._driven = self._living.up(self.session, said=self._said)
        self._bus = Subscriber(events_endpoint(self.directory), ["emotion."])
        self._model = 0
        self._times: list[float] = []
        self._named: str | None = None
        self._bursty = 0
        self._seen: set[psutil.Process] = set()

    def __enter__(self) -> Attack:
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.close()
        self._bursts.close()
        self._driven.__exit__()
        self._said.close()

    # ---------------------------------------------------------------------------- what there is to see

    def read(self, timeout_s: float) -> None:
        """Take in events for so long."""
        end = time.monotonic() + timeout_s
        while (found := self._bus.receive(max(0.0, end - time.monotonic()))) is not None:
            if isinstance(found[1], Emotion) and found[1].stream == "bursty":
                self._bursty += 1
            elif isinstance(found[1], Emotion):
                self._times.append(time.monotonic())
                self._named = found[1].models.get("face-static")

    def warm_up(self) -> None:
        """Let the bursty source hang up a few times: the first connections each take memory that stays."""
        for _ in range(4):
            self._bursty = 0
            self._bursts.hang_up()
            end = time.monotonic() + PATIENCE_S
            while self._bursty < SOME_EVENTS:
                assert time.monotonic() < end, "the bursty stream did not come back"
                self.read(LOOK_EVERY_S)

    def status(self) -> StatusReply | None:
        """What the supervisor says, None while it says nothing."""
        try:
            reply = ask(self.directory, StatusRequest(), StatusReply)
        except BrokerError:
            return None
        for pid in [process.pid for process in reply.processes if process.pid]:
            if psutil.pid_exists(pid):
                self._seen.add(psutil.Process(pid))
        return reply

    def footprint(self) -> Footprint:
        """What it takes of the machine once all is well and two looks in a row are alike."""
        begun, last = time.monotonic(), look(self.settled(), self.directory, self.slots)
        while time.monotonic() - begun < PATIENCE_S:
            for _ in range(STEADY_LOOKS):
                self.read(LOOK_EVERY_S)
            now = look(self.settled(), self.directory, self.slots)
            if steady(last, now):
                return now
            last = now
        return last

    def settled(self) -> StatusReply:
        """Wait until all is well and events come; raises AssertionError where that never comes."""
        begun, told = time.monotonic(), None
        self._times.clear()
        while time.monotonic() - begun < PATIENCE_S:
            self.read(LOOK_EVERY_S)
            told = self.status()
            if told is not None and _well(told) and len(self._times) >= SOME_EVENTS:
                return told
        raise AssertionError(f"all is not well: {self._story(told)}")

    def _story(self, told: StatusReply | None) -> str:
        code = self._driven.process.poll()
        log = (self._living.folder / "log").read_text().splitlines()[-40:]
        processes = [(each.name, each.state, each.because) for each in told.processes] if told else "no status"
        return "\n".join([f"exit code {code}, {len(self._times)} events, {self._named}, {processes}", *log])

    # ---------------------------------------------------------------------------- blows

    def strike(self, blow: Blow) -> Recovery:
        """Let it fall, and wait until all is well again; raises AssertionError where that never comes."""
        self.read(blow.pause_s)
        self._times.clear()
        begun = time.monotonic()
        wanted = None
        if blow.kind == "swap":
            wanted = self._swap()
            self.read(blow.wait_s)
        elif blow.kind in AROUND:
            self._around(blow)
        victim = self._hit(blow) if blow.role is not None else None
        struck = len(self._times)
        while time.monotonic() - begun < PATIENCE_S:
            self.read(LOOK_EVERY_S)
            told = self.status()
            changed = wanted is None or self._named == wanted
            replaced = victim is None or blow.kind == "resume" or _replaced(victim, told)
            going = blow.kind != "burst" or self._bursty > 0
            if told is not None and _well(told) and changed and replaced and going:
                whole_s = time.monotonic() - begun
                self._some_more(struck)
                killed = victim is not None and _replaced(victim, told)
                return self._recovery(blow, victim, begun, whole_s, killed)
        raise AssertionError(f"after '{blow}' {self._story(told)}")

    def _around(self, blow: Blow) -> None:
        """Strike what is around the processes."""
        match blow.kind:
            case "sweep":
                shutil.rmtree(self.slots)
            case "evict":
                shutil.rmtree(self.directory)
            case "rogue":
                rogue = threading.Thread(target=answer_wrongly, args=(self.directory, ROGUE_S))
                rogue.start()
                self.read(ROGUE_S)
                rogue.join()
            case "flood":
                with flooding(self.directory, SUBSCRIPTIONS):
                    self.read(FLOODED_S)
            case "starve":
                with starving(4 * (os.cpu_count() or 1)):
                    self.read(STARVED_S)
            case _:
                self._bursty = 0
                self._bursts.hang_up()

    def _swap(self) -> str:
        self._model = 1 - self._model
        name = MODELS[self._model]
        self._living.write(models={"face-static": str(self._living.models[name])})
        return f"{name}@1"

    def _hit(self, blow: Blow) -> ProcessReport:
        told = self.status()
        assert told is not None, "the supervisor does not answer"
        found = [process for process in told.processes if process.role == blow.role and process.pid is not None]
        victim = found[int(blow.choice * len(found))]
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGSTOP if blow.kind in ("resume", "hang") else signal.SIGKILL)
        if blow.kind == "resume":
            self.read(blow.wait_s)
            # It may have been taken for one that hangs, where the machine is slow.
            if psutil.pid_exists(victim.pid):
                os.kill(victim.pid, signal.SIGCONT)
        return victim

    def _some_more(self, struck: int) -> None:
        wanted, end = max(len(self._times), struck) + SOME_EVENTS, time.monotonic() + PATIENCE_S
        while len(self._times) < wanted:
            assert time.monotonic() < end, f"no events come: {self._story(self.status())}"
            self.read(LOOK_EVERY_S)

    def _recovery(
        self, blow: Blow, victim: ProcessReport | None, begun: float, whole_s: float, killed: bool
    ) -> Recovery:
        pause_s, end = longest_pause(begun, self._times)
        events_s = end - begun if pause_s > STOPPED_S else 0.0
        return Recovery(blow, victim.name if victim else None, events_s, pause_s, whole_s, killed)

    # ---------------------------------------------------------------------------- the end

    def stop(self) -> tuple[float, list[str]]:
        """Ctrl-C: seconds until it has ended, and what is left behind."""
        begun = time.monotonic()
        self._driven.interrupt()
        code = self._driven.process.wait(PATIENCE_S)
        took_s = time.monotonic() - begun
        left = [f"exit code {code}"] if code else []
        left += [str(place) for place in self._driven.left_behind()]
        left += [str(process) for process in self._seen if process.is_running()]
        return took_s, left


def longest_pause(begun: float, times: list[float]) -> tuple[float, float]:
    """The longest pause between moments, the first counted from `begun`, and when it ended."""
    pauses = [(later - sooner, later) for sooner, later in zip([begun, *times], times, strict=False)]
    return max(pauses, default=(0.0, begun))


def _well(told: StatusReply) -> bool:
    return not told.changing and all(process.state == "ready" and process.pid for process in told.processes)


def _replaced(victim: ProcessReport, told: StatusReply | None) -> bool:
    return told is not None and victim.pid not in [process.pid for process in told.processes]
