"""Which speech belongs to a frame: the newest hop that ended at or before the frame's time minus a delay."""

from __future__ import annotations

from typing import NamedTuple

from bimodal.broker.messages import FaceResult, JobFailed, Probabilities, SpeechResult, StreamOpened
from bimodal.workers.fusion import reliability
from bimodal.workers.fusion.combine import clean
from bimodal.workers.fusion.settings import FusionSettings


class Span(NamedTuple):
    """A hop's own stretch of sound, and how much of it is voice (0…1)."""

    start_ns: int
    end_ns: int
    voice: float


class JoinedSpeech(NamedTuple):
    """The speech of one moment.

    Attributes:
        result: the hop it comes from; None where there is none.
        probabilities: of that hop, over the emotions it knows; None where it can't be used.
        because: why it can't be used, else None.
        age_ns: from the hop's end to the moment.
        reliability: voice × freshness, 0…1.
        passed: the hops that came into reach since the moment before, oldest first.
    """

    result: SpeechResult | None
    probabilities: Probabilities | None
    because: str | None
    age_ns: int = 0
    reliability: float = 0.0
    passed: tuple[Span, ...] = ()


class SpeechLine:
    """The hops of one stream and run on the pts line.

    Policy `every`: a frame waits for the hops it could need (`awaited`), so what it is joined with does not depend
    on when results arrive. Hop k may be the last one, cut short to not less than half a hop, so a frame waits for
    it as soon as such a short one could have ended in time, and looks at no hop that it did not wait for.
    Policy `latest`: nothing waits, and the hops' own times are taken as they are.
    """

    def __init__(self, opened: StreamOpened, settings: FusionSettings) -> None:
        self._has_sound = opened.has_sound
        self._on_grid = opened.policy == "every" and opened.has_sound and opened.hop_ns > 0
        self._start_ns = opened.sound_start_ns
        self._hop_ns = max(0, opened.hop_ns)
        self._live = opened.policy == "latest"
        self.reconfigure(settings)
        self._coming: dict[int, SpeechResult | JobFailed] = {}
        self._newest = -1
        self._result: SpeechResult | None = None
        self._failure: JobFailed | None = None

    def reconfigure(self, settings: FusionSettings) -> None:
        """Go on with other settings; which hops there are and which are past stays as it is."""
        self._delay_ns = round(settings.speech_delay_ms * 1e6)
        self._max_age_ns = round(settings.speech_max_age_s * 1e9)
        self._kept = settings.order_limit if self._live else None

    def awaited(self, pts_ns: int) -> int:
        """How many hops, from the first, must be resolved before a frame of this time can be joined."""
        if not self._on_grid:
            return 0
        reach = pts_ns - self._delay_ns - self._start_ns - self._hop_ns // 2
        return reach // self._hop_ns + 1 if reach >= 0 else 0

    def add(self, outcome: SpeechResult | JobFailed) -> None:
        """A hop is resolved, in whatever order. To be called once a hop."""
        if outcome.seq <= self._newest:
            return
        self._coming[outcome.seq] = outcome
        if self._kept is not None and len(self._coming) > self._kept:
            del self._coming[min(self._coming)]

    def join(self, pts_ns: int) -> JoinedSpeech:
        """The speech of the frame of this time. Frames are to be asked for in their order."""
        moment = pts_ns - self._delay_ns
        candidates = self._candidates(pts_ns)
        reached = max((seq for seq in candidates if self._coming[seq].pts_ns <= moment), default=-1)
        spans = []
        for seq in sorted(seq for seq in candidates if seq <= reached):
            self._newest = seq
            hop = self._coming.pop(seq)
            if isinstance(hop, JobFailed):
                self._failure = hop
            else:
                self._result, self._failure = hop, None
                spans.append(self._span(hop))
        return self._joined(pts_ns, tuple(spans))

    def _joined(self, pts_ns: int, passed: tuple[Span, ...]) -> JoinedSpeech:
        if self._result is None:
            return JoinedSpeech(None, None, self._missing())
        age_ns = pts_ns - self._result.pts_ns
        fresh = reliability.freshness(age_ns, self._delay_ns + self._hop_ns, self._max_age_ns)
        joined = judge(self._result, age_ns, fresh, passed)
        if fresh <= 0 and self._failure is not None:
            return joined._replace(because=f"speech failed: {self._failure.because}")
        return joined

    def _missing(self) -> str:
        if not self._has_sound:
            return "no sound"
        return f"speech failed: {self._failure.because}" if self._failure is not None else "no speech yet"

    def _candidates(self, pts_ns: int) -> list[int]:
        """The hops that may belong to a frame of this time: under `every`, those it waited for and no others.

        Sound may run hours ahead of the picture, so not all that came are looked at.
        """
        if not self._on_grid:
            return list(self._coming)
        first, beyond = self._newest + 1, self.awaited(pts_ns)
        if beyond - first > len(self._coming):
            return [seq for seq in self._coming if seq < beyond]
        return [seq for seq in range(first, beyond) if seq in self._coming]

    def _span(self, hop: SpeechResult) -> Span:
        return Span(hop.pts_ns - self._hop_ns, hop.pts_ns, reliability.unit(hop.voice))


def of_hop(outcome: FaceResult | SpeechResult | JobFailed) -> JoinedSpeech:
    """The speech of a hop's own moment, for a stream without picture."""
    if isinstance(outcome, SpeechResult):
        return judge(outcome, 0, 1.0, ())
    return JoinedSpeech(None, None, "no speech yet")


def judge(hop: SpeechResult, age_ns: int, fresh: float, passed: tuple[Span, ...]) -> JoinedSpeech:
    """A hop's worth at a moment: can it be used, and if not, why."""
    probabilities = clean(hop.probabilities)
    because: str | None = None
    if fresh <= 0:
        because = "speech too old"
    elif hop.probabilities is None:
        because = hop.because or "speech was not looked at"
    elif probabilities is None:
        because = "speech not readable"
    elif reliability.unit(hop.voice) <= 0:
        because = "no voice"
    worth = reliability.of_speech(hop.voice, fresh) if because is None else 0.0
    return JoinedSpeech(hop, probabilities if because is None else None, because, age_ns, worth, passed)
