"""Which speech belongs to a frame: the newest hop that ended at or before the frame's time minus a delay."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import Probabilities
from bimodal.broker.messages import FaceResult, JobFailed, SpeechResult, StreamOpened
from bimodal.workers.fusion import combine
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
        fresh = combine.freshness(age_ns, self._delay_ns + self._hop_ns, self._max_age_ns)
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
        return Span(hop.pts_ns - self._hop_ns, hop.pts_ns, combine.unit(hop.voice))


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
    elif combine.unit(hop.voice) <= 0:
        because = "no voice"
    worth = combine.of_speech(hop.voice, fresh) if because is None else 0.0
    return JoinedSpeech(hop, probabilities if because is None else None, because, age_ns, worth, passed)


# Whose voice it is: several faces, one voice.


VOICED = 0.5
"""A hop with at least this share of voice counts as voiced."""
LEAST_SAMPLES = 5
SLOW_NS = 250_000_000
"""Half of the stretch whose mean is the slow part of a mouth's opening: a smile or a yawn, not speech. Measured on
real clips: talking moves 0.03…0.10 beside it, a posed expression without a word up to 0.035, a still face 0.005."""
LEAST_MOVEMENT = 0.015
"""Movement of the mouth's opening (in distances of the eyes) below which a mouth counts as still."""
CLEAR_MARGIN = 1.5
"""How much more a mouth must move than every other one."""
LARGER = 1.3
"""How much larger another face must be before the largest is another."""


class SeenMouth(NamedTuple):
    """One face of a frame: its track, the opening of its mouth, the area of its box in pixels²."""

    track: int
    mouth: float
    area: float


class SpeakerFinder:
    """Finds the face that speaks.

    It is the track whose mouth moves most (fast changes of its opening, root mean square) while there is voice, if it
    moves clearly more than every other one in view. Once found, a speaker stays until another mouth is as clear; while
    there is none, or it is out of sight, the largest face stands in, and stays until another is clearly larger.
    """

    def __init__(self, window_s: float) -> None:
        """`window_s`: how far back mouths and voice are compared, in seconds."""
        self._window_ns = round(window_s * 1e9)
        self._voiced: deque[Span] = deque()
        self._mouths: dict[int, deque[tuple[int, float]]] = {}
        self._speaker: int | None = None
        self._largest: int | None = None

    def reconfigure(self, window_s: float) -> None:
        """Go on with another window; a longer one fills up from now on."""
        self._window_ns = round(window_s * 1e9)

    def hear(self, pts_ns: int, spans: Iterable[Span]) -> None:
        """Hops that came into reach at the frame of `pts_ns`."""
        self._voiced.extend(span for span in spans if span.voice >= VOICED)
        while self._voiced and self._voiced[0].end_ns < pts_ns - self._window_ns:
            self._voiced.popleft()

    def see(self, pts_ns: int, faces: Sequence[SeenMouth]) -> int | None:
        """The track that the voice belongs to among the faces of this frame; None where there are no faces."""
        for face in faces:
            if math.isfinite(face.mouth):
                self._mouths.setdefault(face.track, deque()).append((pts_ns, face.mouth))
        for mouth in self._mouths.values():
            while mouth and mouth[0][0] < pts_ns - self._window_ns:
                mouth.popleft()
        self._find(faces)
        in_view = {face.track for face in faces}
        if self._speaker in in_view:
            return self._speaker
        return self._stand_in(faces)

    def forget(self, alive: Collection[int]) -> None:
        """Only these tracks may still be seen again."""
        self._mouths = {track: mouth for track, mouth in self._mouths.items() if track in alive}
        if self._speaker not in alive:
            self._speaker = None
        if self._largest not in alive:
            self._largest = None

    def _find(self, faces: Sequence[SeenMouth]) -> None:
        movements = sorted(((self._movement(face.track), -face.track) for face in faces), reverse=True)
        if not movements or movements[0][0] < LEAST_MOVEMENT:
            return
        if len(movements) == 1 or movements[0][0] >= CLEAR_MARGIN * movements[1][0]:
            self._speaker = -movements[0][1]

    def _movement(self, track: int) -> float:
        """How far the mouth moves fast while there is voice, root mean square; 0 where too little was seen."""
        seen = self._mouths.get(track, ())
        if not self._voiced or len(seen) < LEAST_SAMPLES:
            return 0.0
        times = np.array([pts_ns for pts_ns, _ in seen], dtype=np.int64)
        voiced = np.zeros(len(times), dtype=bool)
        for span in self._voiced:
            voiced |= (span.start_ns <= times) & (times <= span.end_ns)
        if voiced.sum() < LEAST_SAMPLES:
            return 0.0
        fast = _fast(times, np.array([mouth for _, mouth in seen], dtype=np.float64))[voiced]
        return math.sqrt(np.dot(fast, fast) / fast.size)

    def _stand_in(self, faces: Sequence[SeenMouth]) -> int | None:
        if not faces:
            return None
        largest = max(faces, key=lambda face: (face.area, -face.track))
        held = next((face for face in faces if face.track == self._largest), None)
        if held is None or largest.area > LARGER * held.area:
            self._largest = largest.track
        return self._largest


def _fast(times_ns: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of a signal without its slow part, the mean of what lies around each moment. Both [N]."""
    order = np.argsort(times_ns, kind="stable")
    times, sums = times_ns[order], np.concatenate(([0.0], np.cumsum(values[order])))
    first = np.searchsorted(times, times_ns - SLOW_NS, side="left")
    beyond = np.searchsorted(times, times_ns + SLOW_NS, side="right")
    slow: NDArray[np.float64] = (sums[beyond] - sums[first]) / (beyond - first)
    return values - slow
