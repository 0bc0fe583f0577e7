"""The event that users see (`Emotion`), and functions that read it: leading face, fused probabilities, accord. Pure.

The live page, films, reports and users' programs all read events through these functions.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Probabilities: TypeAlias = dict[str, float]
# Counters: the largest one plus one still fits a message.
Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]

# Where valence and arousal come from: a model, or the probabilities of emotions.
Affect = Literal["model", "derived"]

# (width, height) in pixels.
Size: TypeAlias = tuple[int, int]


class Message(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    """Base of all message bodies."""


class FaceMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """What a face does in one frame; docs/events.md gives units, signs and sources. None: no mesh, or no model for it.

    Attributes:
        eye_distance: between the centres of the eyes, in pixels, not shortened by turning.
        yaw_deg, pitch_deg, roll_deg: head pose against the camera's axis.
        gaze_yaw_deg, gaze_pitch_deg: direction of both eyes against the camera's axis.
        eye_left_open, eye_right_open: gap between the lids over the length of the person's own left and right eye.
        mouth_open: gap between the lips over the distance of the eyes.
        eyes_closed: whether both eyes are closed, judged by how far they were open in the seconds before.
        blink_ms: duration of a blink that ended with this frame.
        valence, arousal: −1…1; `affect` says whether a model gave them or they were derived from probabilities.
        blend: blendshapes by name, 0…1.
        units: action units derived from blendshapes, by name (`au12_derived`), 0…1.
    """

    eye_distance: float | None = None
    yaw_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    gaze_yaw_deg: float | None = None
    gaze_pitch_deg: float | None = None
    eye_left_open: float | None = None
    eye_right_open: float | None = None
    mouth_open: float | None = None
    eyes_closed: bool | None = None
    blink_ms: float | None = None
    valence: float | None = None
    arousal: float | None = None
    affect: Affect | None = None
    blend: dict[str, float] | None = None
    units: dict[str, float] | None = None


class TrackedFace(msgspec.Struct, frozen=True, kw_only=True):
    """A tracked face in one frame; docs/events.md describes every field.

    `sharpness`, `light`, `eyes_seen` and `mouth_seen` are those of messages.Face (None in events of older versions);
    `doubts` says in words what of it is bad enough to make the answer less sure.
    `face` is what the face does beside its emotion; None in events of older versions.
    `other` are the further categories that count, of face and voice together, and `video_other` those of the face
    alone; there is no key where there are none.
    """

    track: int
    box: tuple[int, int, int, int]
    score: float
    presence: float = 1.0
    static: Probabilities
    dynamic: Probabilities | None
    video: Probabilities
    fused: Probabilities
    label: str
    confidence: float
    weights: dict[str, float]
    sharpness: float | None = None
    light: float | None = None
    eyes_seen: float | None = None
    mouth_seen: float | None = None
    doubts: tuple[str, ...] = ()
    face: FaceMeasures | None = None
    other: Probabilities | msgspec.UnsetType = msgspec.UNSET
    video_other: Probabilities | msgspec.UnsetType = msgspec.UNSET


class VoiceMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """How the voice of one hop sounds; docs/events.md gives methods. None: not enough voice.

    Attributes:
        f0_hz, f0_low_hz, f0_high_hz: median, 10th and 90th percentile of the pitch of its voiced frames.
        voiced: share of its frames that have a pitch, 0…1.
        loudness_dbfs: root mean square level.
        loudness_lufs: loudness by ITU-R BS.1770.
        rate_hz: syllables per second of voice, estimated over the speech window.
    """

    f0_hz: float | None = None
    f0_low_hz: float | None = None
    f0_high_hz: float | None = None
    voiced: float | None = None
    loudness_dbfs: float | None = None
    loudness_lufs: float | None = None
    rate_hz: float | None = None


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """The speech window joined to a frame. If gated, label and probabilities are None and `because` says why.

    `snr_db`, `bandwidth_hz` and `clipped` are those of messages.SpeechResult; `doubts` says in words what of it is bad
    enough to make the answer less sure. `measures` is how its newest hop sounds.
    `other` are the further categories that count, and `dominance` is −1…1, of a model that has them; else without key.
    """

    label: str | None
    probabilities: Probabilities | None
    voice: float
    age_ms: float
    because: str | None = None
    snr_db: float | None = None
    bandwidth_hz: float | None = None
    clipped: float | None = None
    doubts: tuple[str, ...] = ()
    measures: VoiceMeasures | None = None
    other: Probabilities | msgspec.UnsetType = msgspec.UNSET
    dominance: float | msgspec.UnsetType = msgspec.UNSET


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Emotion of face and voice together. If unknown, `label` is None and `because` says why.

    `agreement` of face and voice is 0…1, None if one of them is missing. `confidence` is the largest of
    `probabilities`; both are None if nothing could be used, and both are present if the label is missing only
    because the confidence is too low. (Events recorded by older versions have no `probabilities` either.)
    `other` are the further categories that count; the key is there only where there are any.
    """

    label: str | None
    confidence: float | None
    agreement: float | None = None
    because: str | None = None
    probabilities: Probabilities | None = None
    valence: float | None = None
    arousal: float | None = None
    affect: Affect | None = None
    other: Probabilities | msgspec.UnsetType = msgspec.UNSET


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds: from grab to worker (`queue`), in the worker (`inference`), from grab to event (`total`).
    `waited` is the part of `queue` spent at the broker because no worker was free."""

    queue: float
    inference: float
    total: float
    waited: float = 0.0


class Emotion(Message, frozen=True, tag="emotion"):
    """Fusion → everyone, one per video frame (per hop, for a stream without picture). `t` is in seconds.

    `failed` says why a frame could not be analysed (it keeps its place); None for every other frame.
    `size` is (width, height) of the picture as it is shown (upright, square pixels, before `capture.max_height`), in
    whose pixels all boxes are; None without a picture, and in events of older versions, whose boxes were in pixels of
    the scaled frame. `shot` counts the hard cuts of a film so far: each ends all tracks.
    """

    stream: str
    seq: Whole
    t: float
    faces: tuple[TrackedFace, ...]
    speech: Speech | None
    emotion: Verdict
    latency_ms: Latency
    models: dict[str, str]
    failed: str | None = None
    run: Whole = 0
    size: Size | None = None
    shot: Whole = 0


class Hop(Message, frozen=True, tag="hop"):
    """Fusion → everyone, one per hop of sound and voice: what the voice carries, whether a frame takes it up or not.

    Attributes:
        seq: number of the hop in the stream, from 0.
        t: its end, in seconds on the stream's time line.
        channel: of which channel it is, where each channel is a voice of its own; else None.
        label, confidence, probabilities: None where it was gated (`because` says why) or failed.
        voice: share of the hop that is voice, 0…1; None where it failed.
        snr_db, bandwidth_hz, clipped, doubts: as those of Speech; None and empty where the hop was gated or failed.
        other, dominance: as those of Speech.
    """

    stream: str
    seq: Whole
    t: float
    channel: str | None
    label: str | None
    confidence: float | None
    probabilities: Probabilities | None
    voice: float | None
    because: str | None
    latency_ms: Latency
    models: dict[str, str]
    failed: str | None = None
    run: Whole = 0
    snr_db: float | None = None
    bandwidth_hz: float | None = None
    clipped: float | None = None
    doubts: tuple[str, ...] = ()
    valence: float | None = None
    arousal: float | None = None
    affect: Affect | None = None
    measures: VoiceMeasures | None = None
    other: Probabilities | msgspec.UnsetType = msgspec.UNSET
    dominance: float | msgspec.UnsetType = msgspec.UNSET


class Stretch(Message, frozen=True, tag="segment"):
    """Fusion → everyone, when a stretch has ended: an emotion of a face or of the voice, a turn, a blink, a shot.

    recordings/segments.py describes the fields; `start` and `end` are seconds on the stream's time line.
    """

    stream: str
    kind: str
    start: float
    end: float
    track: int | None
    channel: str | None
    label: str
    confidence: float
    peak: float
    frames: Whole
    run: Whole = 0


class Changes:
    """Tells events that say something new from those that repeat the one before: for readers that want changes only.

    New are a label of a face, of the voice or of the verdict, a face that comes or goes, a failure, and a run.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, ...]] = {}

    def new(self, event: Emotion) -> bool:
        """Take the next event of any stream; True where it says something new."""
        says = (
            event.run,
            event.emotion.label,
            tuple((face.track, face.label) for face in event.faces),
            event.speech.label if event.speech is not None else None,
            event.failed,
        )
        before, self._last[event.stream] = self._last.get(event.stream), says
        return says != before


Accord = Literal["none", "agree", "differ", "conflict"]

# Face and voice with different labels contradict each other if their agreement (1 − Jensen–Shannon divergence) is
# below this.
CONFLICT_BELOW = 0.6


def leading(event: Emotion) -> TrackedFace | None:
    """The face that the verdict is about: the speaker's, else one of the verdict's confidence, else the largest."""
    verdict = event.emotion
    speaking = [face for face in event.faces if face.weights.get("speech", 0.0) > 0]
    alike = [face for face in event.faces if verdict.confidence is not None and face.confidence == verdict.confidence]
    return max(speaking or alike or event.faces, key=lambda face: face.box[2] * face.box[3], default=None)


def doubts_of(event: Emotion) -> tuple[str, ...]:
    """What makes the verdict less sure, in words: the doubts of the leading face, then those of the voice."""
    face = leading(event)
    heard = event.speech.doubts if event.speech is not None and event.speech.label is not None else ()
    return (*(face.doubts if face is not None else ()), *heard)


def fused(event: Emotion) -> Probabilities | None:
    """The verdict's probabilities, None if unknown.

    In events of older versions, whose verdicts have none, they are those of the leading face, or of the voice if
    there is no face.
    """
    verdict = event.emotion
    if verdict.probabilities is not None or verdict.confidence is None:
        return verdict.probabilities
    face = leading(event)
    if face is not None:
        return face.fused
    return event.speech.probabilities if event.speech is not None else None


def named_in(event: Emotion) -> tuple[list[str], list[str]]:
    """The emotions and the further categories that an event names, in its order: events describe themselves."""
    speech = event.speech
    sides = [fused(event), *(face.video for face in event.faces)]
    sides += [speech.probabilities if speech is not None else None]
    others = [event.emotion.other, *(side for face in event.faces for side in (face.video_other, face.other))]
    others += [speech.other if speech is not None else msgspec.UNSET]
    return list(dict.fromkeys(name for side in sides for name in side or ())), list(
        dict.fromkeys(name for other in others for name in other or ())
    )


def face_emotion(event: Emotion) -> str | None:
    """The most probable emotion of the leading face's video, without speech."""
    face = leading(event)
    return max(face.video, key=lambda emotion: face.video[emotion]) if face is not None and face.video else None


def accord(event: Emotion) -> Accord:
    """The accord of face and voice; `none` if one of them is missing."""
    face, voice = face_emotion(event), event.speech.label if event.speech is not None else None
    agreement = event.emotion.agreement
    if face is None or voice is None or agreement is None:
        return "none"
    if face == voice:
        return "agree"
    return "conflict" if agreement < CONFLICT_BELOW else "differ"
