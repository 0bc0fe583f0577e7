"""`bimodal.Detector`: faces, voices and whole clips in this process, without child processes.

It runs the same code as the workers, one job after another, so its events are those of `bimodal analyze`.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.api.sources import ConfigLike, Source, check_picture, choice_of, config_of, open_media, voices_of
from bimodal.broker.events import Emotion, FaceMeasures, Hop, Probabilities, VoiceMeasures
from bimodal.broker.messages import (
    Assignment,
    FaceResult,
    Job,
    JobFailed,
    Modality,
    SpeechResult,
    StreamClosed,
    StreamEnded,
    StreamOpened,
    failed,
)
from bimodal.broker.streams import LastSeen
from bimodal.models import affect
from bimodal.models.doubt import face_doubts, flattened, other_flattened, voice_doubts
from bimodal.models.emotions import EmotionSet
from bimodal.options import with_quick
from bimodal.supervisor.processes import ProcessSpec, Wanted, processes
from bimodal.workers.audio import actor as audio
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.capture.actor import RUNS_A_LIFE
from bimodal.workers.capture.checks import uneven
from bimodal.workers.capture.choice import DEFAULT, Channel, Choice
from bimodal.workers.capture.run import stream_opened
from bimodal.workers.capture.settings import StreamSettings
from bimodal.workers.capture.shots import ShotCounter
from bimodal.workers.capture.types import OpenSource, SourceProblems
from bimodal.workers.capture.windows import VoiceCutter
from bimodal.workers.errors import ConfigError
from bimodal.workers.face import actor as face
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.fusion.actor import load
from bimodal.workers.fusion.combine import top
from bimodal.workers.fusion.dynamic import decode_embedding
from bimodal.workers.fusion.streams import Fusion
from bimodal.workers.settings import AudioActorSettings, CaptureActorSettings, FaceActorSettings, FusionActorSettings

log = logging.getLogger(__name__)

WORKER = "detector 1"
"""The name under which models are opened; on a machine with GPUs it takes the first."""

_T = TypeVar("_T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face of a picture.

    Attributes:
        box: (x, y, width, height) in pixels of the picture; may reach over its edges.
        score: of the detection, 0…1.
        presence: confidence of the landmark model, 0…1; low in profile and in the dark, where there is no mesh.
        label, confidence: the most probable emotion and its probability.
        probabilities: by emotion, over those that the static models know; sum to 1. Flattened where there are doubts.
        sharpness: of the crop, 0…1.
        light: mean brightness of the face, 0…1.
        eyes_seen, mouth_seen: 0 covered … 1 open to view; None without a mesh.
        mouth: gap between the lips over the distance of the eyes; 0 is closed, None without a mesh.
        embedding: float32 [D] of the first static model, None where it gives none.
        measures: what the face does beside its emotion (docs/events.md): head pose, eyes, mouth …; what needs several
            pictures (blinks) is None.
        doubts: what makes the answer less sure ("face is blurred", "mouth is covered" …); empty for a clear face.
        other: by further category that counts, its share of all classes; empty where the model has none.
    """

    box: tuple[float, float, float, float]
    score: float
    presence: float
    label: str
    confidence: float
    probabilities: Probabilities
    sharpness: float
    mouth: float | None
    embedding: NDArray[np.float32] | None
    measures: FaceMeasures
    light: float | None = None
    eyes_seen: float | None = None
    mouth_seen: float | None = None
    doubts: tuple[str, ...] = ()
    other: Probabilities = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Voice:
    """Emotion of a stretch of sound.

    Attributes:
        label, confidence: the most probable emotion and its probability; None without enough voice.
        probabilities: by emotion, over those that the speech model knows; None without enough voice.
        voice: share of the sound that is voice, 0…1.
        because: why there is no label ("too quiet", "no voice", "not enough sound yet"), else None.
        measures: how it sounds (docs/events.md): pitch, loudness, speaking rate; None without sound.
        snr_db, bandwidth_hz, clipped: of the sound (docs/events.md); None without enough voice.
        doubts: what makes the answer less sure ("voice is noisy" …); empty for a clear voice.
        other: by further category that counts, its share of all classes; empty where the model has none.
    """

    label: str | None
    confidence: float | None
    probabilities: Probabilities | None
    voice: float
    because: str | None
    measures: VoiceMeasures | None = None
    snr_db: float | None = None
    bandwidth_hz: float | None = None
    clipped: float | None = None
    doubts: tuple[str, ...] = ()
    other: Probabilities = field(default_factory=dict)


class Detector:
    """The models of a config, opened once, in this process.

    Use it as a context manager, or call `close`. It keeps nothing between calls, and is for one thread at a time.

    Args:
        config: a path of a config.yaml, its values as a dict, or None for the defaults.
        workers: threads that work on the frames of one clip; `events` are the same with any number.
        quick: what has not changed from one frame of a clip to the next is not looked at again (`face.quick` of the
            config); None: as the config says.

    Raises ConfigError, CatalogError, ArtifactError or ProviderError where the config's models can't be used.
    """

    def __init__(self, config: ConfigLike = None, *, workers: int = 1, quick: bool | None = None) -> None:
        self._config = with_quick(config_of(config), quick)
        rows = processes(Wanted(self._config, counts={"face": 1, "audio": 1}, files=True))
        face_settings = _told(rows, FaceActorSettings)
        assert face_settings is not None
        faces = face.open_models(face_settings, WORKER)
        self._faces = _pipeline(faces, face_settings)
        self._free: SimpleQueue[FacePipeline] = SimpleQueue()
        self._free.put(self._faces)
        for _ in range(workers - 1):
            self._free.put(_pipeline(face.open_models(face_settings, WORKER), face_settings))
        self._quick = face_settings.face.quick and face_settings.face.detect_every == "auto"
        self._threads = ThreadPoolExecutor(workers) if workers > 1 else None
        # Frames that need the answer to the one before are looked at one after another, beside decoding and voice.
        self._in_order = ThreadPoolExecutor(1) if workers > 1 and self._quick else None
        self._ahead = 2 * workers if workers > 1 else 0
        self._voice_lock = Lock()
        self._face_names = faces.names
        self._voices: SpeechPipeline | None = None
        self._voice_names: dict[str, str] = {}
        audio_settings = _told(rows, AudioActorSettings)
        if audio_settings is not None:
            voices = audio.open_models(audio_settings, WORKER)
            self._voices = SpeechPipeline(
                voices.speech,
                voices.voice_activity,
                audio_settings.audio,
                audio_settings.emotions,
                audio_settings.ensemble,
            )
            self._voice_names = voices.names
        fusion_settings = _told(rows, FusionActorSettings)
        assert fusion_settings is not None
        self._fusion = load(fusion_settings)
        self._emotions = fusion_settings.emotions

    @property
    def emotions(self) -> EmotionSet:
        """The set that results are about: emotions, and further categories that count."""
        return self._emotions

    @property
    def models(self) -> dict[str, str]:
        """name@version of every model that runs, by kind."""
        return self._face_names | self._voice_names | self._fusion.names

    def faces(self, picture: NDArray[np.uint8]) -> list[Face]:
        """Find and read the faces of one picture, the largest first.

        Args:
            picture: uint8 [H, W, 3] RGB.

        Raises SourceError where it is anything else.
        """
        pixels = np.ascontiguousarray(check_picture(np.asarray(picture)))
        return [_face(found, self._emotions) for found in self._faces(pixels)]

    def voice(self, samples: NDArray[Any], rate: int) -> Voice:
        """Read one stretch of sound; of a longer one the speech model hears the newest seconds of its window.

        Args:
            samples: float32 [S] or [S, C], −1…1.
            rate: samples a second.

        Raises SourceError where they are anything else, ConfigError where the config has no speech model.
        """
        if self._voices is None:
            raise ConfigError("there is no speech model: 'models.speech' is none")
        reading = self._voices(voices_of(np.asarray(samples), rate)[0], rate, 0)
        if reading.probabilities is None or reading.quality is None:
            return Voice(None, None, None, reading.voice, reading.reason, reading.measures)
        doubts = voice_doubts(*reading.quality)
        probabilities = flattened(reading.probabilities, doubts.temperature)
        label, confidence = top(probabilities, self._emotions.emotions)
        return Voice(
            label,
            confidence,
            probabilities,
            reading.voice,
            reading.reason,
            reading.measures,
            *reading.quality,
            doubts=doubts.reasons,
            other=other_flattened(reading.probabilities, reading.other, doubts.temperature),
        )

    @overload
    def events(
        self,
        source: Source,
        *,
        fps: float | None = None,
        sound: NDArray[Any] | None = None,
        rate: int | None = None,
        name: str | None = None,
        video_track: int | None = None,
        audio_track: int | None = None,
        channel: Channel = "mix",
        hops: Literal[False] = False,
    ) -> Iterator[Emotion]: ...
    @overload
    def events(
        self,
        source: Source,
        *,
        fps: float | None = None,
        sound: NDArray[Any] | None = None,
        rate: int | None = None,
        name: str | None = None,
        video_track: int | None = None,
        audio_track: int | None = None,
        channel: Channel = "mix",
        hops: Literal[True],
    ) -> Iterator[Emotion | Hop]: ...
    def events(
        self,
        source: Source,
        *,
        fps: float | None = None,
        sound: NDArray[Any] | None = None,
        rate: int | None = None,
        name: str | None = None,
        video_track: int | None = None,
        audio_track: int | None = None,
        channel: Channel = "mix",
        hops: bool = False,
    ) -> Iterator[Any]:
        """Look at a whole clip; gives its events one after another, one a frame (one a hop, where it has no picture).

        Args:
            source: a media file; pictures uint8 [N, H, W, 3] RGB; or samples float32 [S] or [S, C].
            fps: pictures a second, with pictures.
            sound: samples that belong to pictures.
            rate: samples a second, with samples.
            name: of the stream in the events; by default the file's stem.
            video_track, audio_track: number of a track from 1; by default the one flagged as default.
            channel: "mix", "left", "right", a number from 1, or "each": one voice a channel.
            hops: also give a `bimodal.Hop` for every hop of sound (and voice), in order among the events of frames.

        Raises SourceError where the source can't be read.
        """
        choice = choice_of(video_track, audio_track, channel)
        events = self.read(source, fps=fps, sound=sound, rate=rate, name=name, choice=choice).events
        return events if hops else (event for event in events if isinstance(event, Emotion))

    def read(
        self,
        source: Source,
        *,
        fps: float | None = None,
        sound: NDArray[Any] | None = None,
        rate: int | None = None,
        name: str | None = None,
        choice: Choice = DEFAULT,
    ) -> Reading:
        """Open a clip: its announcement, its problems, and its events and hops, of which each is made when it is asked
        for. Arguments and errors as of `events`."""
        opened = open_media(source, self._config.capture.max_height, fps=fps, sound=sound, rate=rate, choice=choice)
        settings = CaptureActorSettings(
            stream=name or Path(opened.info.name).stem,
            source=StreamSettings(file=opened.info.name),
            capture=self._config.capture,
            policy="every",
            realtime=False,
            speech=self._voices is not None,
            emotions=self._emotions,
        )
        announced = stream_opened(settings, opened.info, RUNS_A_LIFE)
        return Reading(announced, opened.problems, self._events(opened, settings, announced))

    def _events(
        self, source: OpenSource, settings: CaptureActorSettings, opened: StreamOpened
    ) -> Iterator[Emotion | Hop]:
        fusion = Fusion(self._fusion.settings.fusion, self._fusion.models)
        fusion.receive(opened, time.monotonic_ns())
        pictures = _pictures(source) if opened.has_picture else _ended("face")
        windows = _windows(source, settings) if opened.has_sound else _ended("speech")
        counts: dict[Modality, int] = {"face": 0, "speech": 0}
        ends_ns: dict[Modality, int] = {}
        ahead: deque[Callable[[], Message]] = deque()
        last = LastSeen() if self._quick else None
        for item in heapq.merge(pictures, windows, key=lambda item: item.pts_ns):
            seq = counts[item.modality]
            if item.data is None:
                end = StreamEnded(stream=opened.stream, run=opened.run, modality=item.modality, count=seq)
                ahead.append(partial(_itself, end))
            else:
                ahead.append(self._begin(_job(opened.stream, opened.run, seq, item), item.data, last))
                counts[item.modality] += 1
                ends_ns[item.modality] = item.pts_ns
            # Answers are taken in the order of the jobs, so that events are the same with any number of workers.
            while len(ahead) > self._ahead:
                yield from _told_events(fusion, ahead.popleft()())
        while ahead:
            yield from _told_events(fusion, ahead.popleft()())
        all_read = opened.has_sound or not source.info.has_sound
        source.problems.report("length", uneven(source.info, ends_ns, counts["face"], all_read=all_read))

    def _begin(self, job: Job, data: NDArray[Any], last: LastSeen | None) -> Callable[[], Message]:
        """Begin a job, in a thread where there are several workers; gives what waits for its answer."""
        threads = self._in_order if job.modality == "face" and self._in_order is not None else self._threads
        if threads is None:
            return partial(self._answer, job, data, last)
        return threads.submit(self._answer, job, data, last).result

    def _answer(self, job: Job, data: NDArray[Any], last: LastSeen | None) -> FaceResult | SpeechResult | JobFailed:
        """Do one job as a worker does it: what goes wrong fails its frame only, and the event says why.

        Args:
            last: of the clip, where its frames are looked at in order: what the broker passes on.
        """
        assignment = Assignment(number=1, job=job)
        taken_ns = time.monotonic_ns()
        try:
            if job.modality == "face":
                if last is not None:
                    hints = last.for_job(job)
                    seen = last.faces if hints is not None else ()
                    assignment = Assignment(number=1, job=job, ordered=True, hints=hints, seen=seen)
                pipeline = self._free.get()
                try:
                    answer = face.face_result(pipeline, self._face_names, assignment, data, taken_ns)
                finally:
                    self._free.put(pipeline)
                if last is not None:
                    last.remember(answer)
                return answer
            assert self._voices is not None
            with self._voice_lock:
                return audio.speech_result(self._voices, self._voice_names, assignment, data, taken_ns)
        except Exception as error:
            log.exception("job %s/%s/%d failed", job.stream, job.modality, job.seq)
            return failed(job, f"{type(error).__name__} in the {job.modality} worker", number=assignment.number)

    def close(self) -> None:
        """Let go of the models' memory; the detector can't be used any more."""
        for threads in (self._threads, self._in_order):
            if threads is not None:
                threads.shutdown(cancel_futures=True)
        del self._faces, self._free, self._voices, self._fusion

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Reading(NamedTuple):
    """An opened clip.

    Attributes:
        opened: its announcement, as capture gives it.
        problems: what is wrong with it; whole once the events have been read to their end.
        events: events and hops, in order.
    """

    opened: StreamOpened
    problems: SourceProblems
    events: Iterator[Emotion | Hop]


Message: TypeAlias = FaceResult | SpeechResult | JobFailed | StreamEnded


def _itself(message: Message) -> Message:
    return message


def _told_events(fusion: Fusion, message: Message) -> Iterator[Emotion | Hop]:
    for event in fusion.receive(message, time.monotonic_ns()):
        if not isinstance(event, StreamClosed):
            yield event


class _Item(NamedTuple):
    """A frame or a speech window; without data, the end of its modality."""

    pts_ns: int
    modality: Modality
    grab_ns: int = 0
    data: NDArray[Any] | None = None
    rate: int = 0
    fresh: int = 0
    size: tuple[int, int] | None = None
    shot: int = 0


def _ended(modality: Modality, pts_ns: int = -(2**62)) -> Iterator[_Item]:
    yield _Item(pts_ns, modality)


def _pictures(source: OpenSource) -> Iterator[_Item]:
    assert source.pictures is not None
    last_ns, shots = 0, ShotCounter()
    for picture in source.pictures():
        last_ns, shot = picture.pts_ns, shots.shot(picture.pixels)
        yield _Item(last_ns, "face", picture.grab_ns, picture.pixels, size=picture.size, shot=shot)
    yield from _ended("face", last_ns)


def _windows(source: OpenSource, settings: CaptureActorSettings) -> Iterator[_Item]:
    assert source.sounds is not None
    cutter = VoiceCutter(len(source.info.channels), settings.capture.window_s, settings.capture.hop_s)
    last_ns = 0
    pieces = (window for sound in source.sounds() for window in cutter.feed(sound))
    for windows in (pieces, cutter.flush()):
        for window in windows:
            last_ns = window.end_ns
            yield _Item(last_ns, "speech", window.grab_ns, window.samples, window.rate, window.new_samples)
    yield from _ended("speech", last_ns)


def _job(stream: str, run: int, seq: int, item: _Item) -> Job:
    assert item.data is not None
    return Job(
        stream=stream,
        run=run,
        modality=item.modality,
        seq=seq,
        pts_ns=item.pts_ns,
        grab_ns=item.grab_ns,
        ring="",
        slot=0,
        generation=0,
        shape=item.data.shape,
        rate=item.rate,
        fresh=item.fresh,
        size=item.size,
        shot=item.shot,
    )


def _pipeline(models: face.FaceModels, settings: FaceActorSettings) -> FacePipeline:
    return FacePipeline(
        models.detector,
        models.landmarks,
        models.static,
        settings.face,
        models.details,
        settings.emotions,
        settings.ensemble,
    )


def _face(found: Any, emotions: EmotionSet) -> Face:
    doubts = face_doubts(found.box, found.sharpness, found.light, found.eyes_seen, found.mouth_seen)
    probabilities = flattened(found.probabilities, doubts.temperature)
    label, confidence = top(probabilities, emotions.emotions)
    place = affect.derived(probabilities)
    return Face(
        box=found.box,
        score=found.score,
        presence=found.presence,
        label=label,
        confidence=confidence,
        probabilities=probabilities,
        sharpness=found.sharpness,
        mouth=found.mouth,
        embedding=decode_embedding(found.embedding),
        measures=msgspec.structs.replace(
            found.measures,
            **({} if place is None else {"valence": place.valence, "arousal": place.arousal, "affect": "derived"}),
        ),
        light=found.light,
        eyes_seen=found.eyes_seen,
        mouth_seen=found.mouth_seen,
        doubts=doubts.reasons,
        other=other_flattened(found.probabilities, found.other, doubts.temperature),
    )


def _told(rows: list[ProcessSpec], kind: type[_T]) -> _T | None:
    """The settings of the first process that gets settings of a kind."""
    return next((row.settings for row in rows if isinstance(row.settings, kind)), None)
