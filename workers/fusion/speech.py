"""Speech of a frame: the newest hop that ended at or before the frame's time minus a delay; and the speaker."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import Probabilities
from bimodal.broker.messages import FaceResult, JobFailed, SpeechResult, StreamOpened
from bimodal.models.doubt import Doubts, flattened, voice_doubts
from bimodal.models.emotions import EmotionSet, Mapped, whole_of
from bimodal.models.turn import TurnEvidence
from bimodal.recordings.records import set_of
from bimodal.workers.fusion import combine
from bimodal.workers.fusion.combine import clean, clean_other
from bimodal.workers.fusion.settings import FusionSettings


class Span(NamedTuple):
    """The interval of sound of a hop, and the share of voice in it (0…1)."""

    start_ns: int
    end_ns: int
    voice: float


class JoinedSpeech(NamedTuple):
    """The speech of one moment.

    Attributes:
        result: the hop it comes from; None where there is none.
        probabilities: of the turn of speech up to that hop, over the emotions it knows; None where it can't be used.
        reason: why it can't be used, else None.
        age_ns: from the hop's end to the moment.
        reliability: voice × freshness × what its doubts leave, 0…1.
        passed: the hops that became usable since the moment before, oldest first.
        doubts: what of its sound makes it less sure, in words.
        other: shares of the further categories that count, of the turn up to that hop.
    """

    result: SpeechResult | None
    probabilities: Probabilities | None
    reason: str | None
    age_ns: int = 0
    reliability: float = 0.0
    passed: tuple[Span, ...] = ()
    doubts: tuple[str, ...] = ()
    other: Mapping[str, float] = MappingProxyType({})


class SpeechLine:
    """The hops of one stream and run on the pts line.

    Policy `every`: a frame waits for the hops it could need (`awaited`), so its speech does not depend on when results
    arrive. Hop k may be the last one, cut short to at least half a hop, so a frame waits for it as soon as such a
    short one could have ended in time, and uses no hop that it did not wait for.
    Policy `latest`: no frame waits, and hops keep their own times.
    """

    def __init__(self, opened: StreamOpened, settings: FusionSettings) -> None:
        self._has_sound = opened.has_sound
        self._on_grid = opened.policy == "every" and opened.has_sound and opened.hop_ns > 0
        self._start_ns = opened.sound_start_ns
        self._hop_ns = max(0, opened.hop_ns)
        self._voices = max(1, len(opened.channels))
        self._live = opened.policy == "latest"
        self._emotions = set_of(opened)
        self._turns = [_Turn(settings, self._emotions) for _ in range(self._voices)]
        self._hop_turns = [_Turn(settings, self._emotions) for _ in range(self._voices)]
        self.reconfigure(settings)
        self._coming: dict[int, SpeechResult | JobFailed] = {}
        self._newest = -1
        self._result: SpeechResult | None = None
        self._found: Mapped | None = None
        self._doubts = Doubts()
        self._failure: JobFailed | None = None

    def reconfigure(self, settings: FusionSettings) -> None:
        """Go on with other settings; the hops stay."""
        self._delay_ns = round(settings.speech_delay_ms * 1e6)
        self._max_age_ns = round(settings.speech_max_age_s * 1e9)
        self._kept = settings.order_limit if self._live else None
        for turn in (*self._turns, *self._hop_turns):
            turn.reconfigure(settings)

    def awaited(self, pts_ns: int) -> int:
        """Number of speech jobs, from the first, that must be resolved before a frame of this time can be joined."""
        return self._hops_awaited(pts_ns) * self._voices

    def _hops_awaited(self, pts_ns: int) -> int:
        if not self._on_grid:
            return 0
        reach = pts_ns - self._delay_ns - self._start_ns - self._hop_ns // 2
        return reach // self._hop_ns + 1 if reach >= 0 else 0

    def add(self, outcome: SpeechResult | JobFailed) -> None:
        """Take a resolved hop, in any order, once a hop and voice. Of several voices the one that speaks counts."""
        hop = outcome.seq // self._voices
        if hop <= self._newest:
            return
        held = self._coming.get(hop)
        self._coming[hop] = outcome if held is None else leading_voice(held, outcome)
        if self._kept is not None and len(self._coming) > self._kept:
            del self._coming[min(self._coming)]

    def join(self, pts_ns: int) -> JoinedSpeech:
        """The speech of the frame at this time. To be called for frames in order."""
        if not self._coming:
            return self._joined(pts_ns, ())
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
                self._found = self._gathered(hop, self._turns)
                self._doubts = _doubts(hop)
                spans.append(self._span(hop))
        return self._joined(pts_ns, tuple(spans))

    def _joined(self, pts_ns: int, passed: tuple[Span, ...]) -> JoinedSpeech:
        if self._result is None:
            return JoinedSpeech(None, None, self._missing())
        age_ns = pts_ns - self._result.pts_ns
        fresh = combine.freshness(age_ns, self._delay_ns + self._hop_ns, self._max_age_ns)
        joined = judge(self._result, self._found, age_ns, fresh, passed, self._doubts)
        if fresh <= 0 and self._failure is not None:
            return joined._replace(reason=f"speech failed: {self._failure.because}")
        return joined

    def _missing(self) -> str:
        if not self._has_sound:
            return "no sound"
        return f"speech failed: {self._failure.because}" if self._failure is not None else "no speech yet"

    def _candidates(self, pts_ns: int) -> list[int]:
        """The hops that may belong to a frame of this time: under `every`, only those it waited for.

        Sound may run hours ahead of the picture, so not all hops are searched.
        """
        if not self._on_grid:
            return list(self._coming)
        first, beyond = self._newest + 1, self._hops_awaited(pts_ns)
        if beyond - first > len(self._coming):
            return [seq for seq in self._coming if seq < beyond]
        return [seq for seq in range(first, beyond) if seq in self._coming]

    def _span(self, hop: SpeechResult) -> Span:
        return Span(hop.pts_ns - self._hop_ns, hop.pts_ns, combine.unit(hop.voice))

    def of_hop(self, outcome: FaceResult | SpeechResult | JobFailed) -> JoinedSpeech:
        """The speech at the time of a hop itself, for a stream without picture. To be called for hops in order."""
        if isinstance(outcome, SpeechResult):
            return judge(outcome, self._gathered(outcome, self._turns), 0, 1.0, ())
        return JoinedSpeech(None, None, "no speech yet")

    def of_voice(self, outcome: SpeechResult) -> JoinedSpeech:
        """The speech of a hop of one voice, for the hop's own event. To be called for all hops in order."""
        return judge(outcome, self._gathered(outcome, self._hop_turns), 0, 1.0, ())

    def _gathered(self, hop: SpeechResult, turns: list[_Turn]) -> Mapped | None:
        """The evidence of the turn of the hop's voice up to it; None where the hop has none."""
        probabilities = clean(hop.probabilities, self._emotions.emotions)
        if probabilities is None:
            return None
        found = Mapped(probabilities, clean_other(hop.other, self._emotions.categories))
        if combine.unit(hop.voice) <= 0:
            return found
        return turns[hop.seq % self._voices].update(hop, self._hop_ns, found)


class _Turn:
    """The evidence of the turns of one voice. A hop that can be heard badly counts with flattened probabilities.

    Emotions are gathered by themselves, and once more together with the further categories, for the shares of these.
    """

    def __init__(self, settings: FusionSettings, emotions: EmotionSet) -> None:
        self._emotions = TurnEvidence(settings.turn_s, settings.turn_pause_s)
        self._whole = TurnEvidence(settings.turn_s, settings.turn_pause_s)
        self._categories = emotions.categories

    def reconfigure(self, settings: FusionSettings) -> None:
        for evidence in (self._emotions, self._whole):
            evidence.reconfigure(settings.turn_s, settings.turn_pause_s)

    def update(self, hop: SpeechResult, hop_ns: int, found: Mapped) -> Mapped:
        temperature, voice = _doubts(hop).temperature, combine.unit(hop.voice)
        known = flattened(found.probabilities, temperature)
        known = self._emotions.update(hop.pts_ns, hop_ns, voice, known)
        if not found.other:
            return Mapped(known, {})
        whole = flattened(whole_of(found.probabilities, found.other), temperature)
        whole = self._whole.update(hop.pts_ns, hop_ns, voice, whole)
        return Mapped(known, {name: whole[name] for name in found.other})


def leading_voice(first: SpeechResult | JobFailed, second: SpeechResult | JobFailed) -> SpeechResult | JobFailed:
    """Of the same hop of two voices the one that speaks: with a label first, then with more voice, then the first."""

    def rank(outcome: SpeechResult | JobFailed) -> tuple[bool, bool, float]:
        if isinstance(outcome, JobFailed):
            return False, False, 0.0
        return True, outcome.probabilities is not None, combine.unit(outcome.voice)

    return max(first, second, key=lambda outcome: (*rank(outcome), -outcome.seq))


def judge(
    hop: SpeechResult,
    found: Mapped | None,
    age_ns: int,
    fresh: float,
    passed: tuple[Span, ...],
    doubts: Doubts | None = None,
) -> JoinedSpeech:
    """Judge a hop at a moment: its reliability, or why it can't be used. `found`: of its turn of speech; `doubts`: of
    the hop, where they are known already."""
    reason: str | None = None
    if fresh <= 0:
        reason = "speech too old"
    elif hop.probabilities is None:
        reason = hop.because or "speech was not looked at"
    elif found is None:
        reason = "speech not readable"
    elif combine.unit(hop.voice) <= 0:
        reason = "no voice"
    if reason is not None or found is None:
        return JoinedSpeech(hop, None, reason, age_ns, 0.0, passed)
    doubts = doubts if doubts is not None else _doubts(hop)
    worth = combine.of_speech(hop.voice, fresh) * doubts.reliability
    return JoinedSpeech(hop, found.probabilities, None, age_ns, worth, passed, doubts.reasons, found.other)


def _doubts(hop: SpeechResult) -> Doubts:
    return voice_doubts(hop.snr_db, hop.bandwidth_hz, hop.clipped)


# The speaker among several faces.

VOICED = 0.5
"""A hop with at least this share of voice counts as voiced."""
LEAST_SAMPLES = 5
FIRST_SAMPLES = 128
SLOW_NS = 250_000_000
"""Half of the window whose mean is the slow part of a mouth's opening: a smile or a yawn, not speech. Movement
around it in real clips: 0.03…0.10 while talking, up to 0.035 for a posed, silent expression, 0.005 for a still face."""
LEAST_MOVEMENT = 0.015
"""Movement of the mouth's opening (in distances of the eyes) below which a mouth counts as still."""
TALKING = 0.03
"""Movement of the mouth's opening from which, with voice, a face counts as talking."""
CLEAR_MARGIN = 1.5
"""Least ratio of the speaker's movement to that of every other mouth."""
LARGER = 1.3
"""Least ratio of areas at which another face becomes the largest."""


class SeenMouth(NamedTuple):
    """One face of a frame: its track, the opening of its mouth, the area of its box in pixels²."""

    track: int
    mouth: float | None
    area: float


class SpeakerFinder:
    """Finds the face that speaks.

    It is the track whose mouth moves most (fast changes of its opening, root mean square) while there is voice, if it
    moves clearly more than every other one in view. A speaker stays until another mouth is as clear. Without one in
    view, the largest face takes its place, until another is clearly larger.
    """

    def __init__(self, window_s: float) -> None:
        """`window_s`: window in which mouths and voice are compared, in seconds."""
        self._window_ns = round(window_s * 1e9)
        self._voiced: deque[Span] = deque()
        self._mouths: dict[int, _Mouth] = {}
        self._speaker: int | None = None
        self._largest: int | None = None
        self._talking: frozenset[int] = frozenset()

    def reconfigure(self, window_s: float) -> None:
        """Go on with another window; a longer one fills from now on."""
        self._window_ns = round(window_s * 1e9)

    def on_speech(self, pts_ns: int, spans: Iterable[Span]) -> None:
        """Take the hops that became usable at the frame of `pts_ns`."""
        self._voiced.extend(span for span in spans if span.voice >= VOICED)
        while self._voiced and self._voiced[0].end_ns < pts_ns - self._window_ns:
            self._voiced.popleft()

    def on_frame(self, pts_ns: int, faces: Sequence[SeenMouth]) -> int | None:
        """The track of the speaker among the faces of this frame; None without faces."""
        for face in faces:
            if face.mouth is not None and math.isfinite(face.mouth):
                if face.track not in self._mouths:
                    self._mouths[face.track] = _Mouth()
                self._mouths[face.track].add(pts_ns, face.mouth)
        for mouth in self._mouths.values():
            mouth.forget(pts_ns - self._window_ns)
        self._find(faces)
        in_view = {face.track for face in faces}
        if self._speaker in in_view:
            return self._speaker
        return self._largest_face(faces)

    def talks(self, track: int) -> bool:
        """True while the mouth of a track in view moves as in speech, and there is voice."""
        return track in self._talking

    def forget(self, alive: Collection[int]) -> None:
        """Forget all tracks but these."""
        for track in [track for track in self._mouths if track not in alive]:
            del self._mouths[track]
        if self._speaker not in alive:
            self._speaker = None
        if self._largest not in alive:
            self._largest = None

    def _find(self, faces: Sequence[SeenMouth]) -> None:
        movements = sorted(((self._movement(face.track), -face.track) for face in faces), reverse=True)
        self._talking = frozenset(-track for movement, track in movements if movement >= TALKING)
        if not movements or movements[0][0] < LEAST_MOVEMENT:
            return
        if len(movements) == 1 or movements[0][0] >= CLEAR_MARGIN * movements[1][0]:
            self._speaker = -movements[0][1]

    def _movement(self, track: int) -> float:
        """Fast movement of the mouth while there is voice, root mean square; 0 with too few samples."""
        mouth = self._mouths.get(track)
        return mouth.movement(self._voiced) if mouth is not None and self._voiced else 0.0

    def _largest_face(self, faces: Sequence[SeenMouth]) -> int | None:
        if not faces:
            return None
        largest = max(faces, key=lambda face: (face.area, -face.track))
        held = next((face for face in faces if face.track == self._largest), None)
        if held is None or largest.area > LARGER * held.area:
            self._largest = largest.track
        return self._largest


class _Mouth:
    """The opening of one mouth in a window of time.

    Samples come in order of time, so what is near to each is known when it comes; where they do not, the window begins
    anew. Arrays are kept from frame to frame, since making them costs more than what is done with them.
    """

    def __init__(self) -> None:
        self._times: list[int] = []
        self._begin = 0
        self._values = np.empty(FIRST_SAMPLES)
        self._sums = np.zeros(FIRST_SAMPLES + 1)
        # Of each sample, the first one within SLOW_NS of it, and the one beyond the last.
        self._first = np.empty(FIRST_SAMPLES, np.int64)
        self._beyond = np.empty(FIRST_SAMPLES, np.int64)

    def add(self, pts_ns: int, opening: float) -> None:
        """Take the next sample."""
        if self._times and pts_ns < self._times[-1]:
            self._times, self._begin = [], 0
        if len(self._times) == len(self._values):
            self._make_room()
        place = len(self._times)
        first = bisect_left(self._times, pts_ns - SLOW_NS, self._begin)
        self._times.append(pts_ns)
        self._values[place] = opening
        self._first[place] = first
        self._beyond[first : place + 1] = place + 1

    def forget(self, before_ns: int) -> None:
        """Forget samples before a time."""
        while self._begin < len(self._times) and self._times[self._begin] < before_ns:
            self._begin += 1

    def movement(self, voiced: Iterable[Span]) -> float:
        """Root mean square of its changes, less their slow part, over the samples in these spans; 0 with too few.

        The slow part is the mean within SLOW_NS of each sample.
        """
        begin, end = self._begin, len(self._times)
        if end - begin < LEAST_SAMPLES:
            return 0.0
        chosen = self._within(voiced)
        if chosen is None:
            return 0.0
        np.cumsum(self._values[begin:end], out=self._sums[begin + 1 : end + 1])
        self._sums[begin] = 0.0
        beyond, first = self._beyond[chosen], np.maximum(self._first[chosen], begin)
        slow = (self._sums[beyond] - self._sums[first]) / (beyond - first)
        fast = self._values[chosen] - slow
        return math.sqrt(np.dot(fast, fast) / fast.size)

    def _within(self, spans: Iterable[Span]) -> slice | NDArray[np.int64] | None:
        """The places of the samples within any of the spans; None where there are too few."""
        begin, times = self._begin, self._times
        parts: list[tuple[int, int]] = []
        for span in sorted(spans):
            start, end = bisect_left(times, span.start_ns, begin), bisect_right(times, span.end_ns, begin)
            if parts and start <= parts[-1][1]:
                parts[-1] = parts[-1][0], max(parts[-1][1], end)
            elif start < end:
                parts.append((start, end))
        if sum([end - start for start, end in parts]) < LEAST_SAMPLES:
            return None
        if len(parts) == 1:
            return slice(*parts[0])
        return np.concatenate([np.arange(start, end) for start, end in parts])

    def _make_room(self) -> None:
        """Move the window to the front of arrays that are twice as large as it."""
        begin, count = self._begin, len(self._times) - self._begin
        size = max(FIRST_SAMPLES, 2 * count)
        del self._times[:begin]
        self._begin = 0
        values, first, beyond = np.empty(size), np.empty(size, np.int64), np.empty(size, np.int64)
        values[:count] = self._values[begin:]
        first[:count] = np.maximum(self._first[begin:] - begin, 0)
        beyond[:count] = self._beyond[begin:] - begin
        self._values, self._first, self._beyond, self._sums = values, first, beyond, np.zeros(size + 1)
