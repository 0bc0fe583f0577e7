"""Topics of the event bus: one table with pattern, message, publisher and rate of each.

A topic is the first frame of a PUB message, its Envelope the second. `{…}` stands for a stream or a process.
Subscribing to a prefix ("emotion.") takes all of its topics. The bus may lose anything for a slow reader.
"""

from __future__ import annotations

from typing import NamedTuple

from bimodal.broker.events import Emotion, Hop, Message, Stretch
from bimodal.broker.messages import Heartbeat, Job, Modality, Status, StreamClosed, StreamOpened


class Topic(NamedTuple):
    """One row of the table."""

    pattern: str
    message: type[Message]
    publisher: str
    rate: str


TOPICS: tuple[Topic, ...] = (
    Topic("emotion.{stream}", Emotion, "fusion", "one per video frame"),
    Topic("speech.{stream}", Hop, "fusion", "one per hop of sound and voice"),
    Topic("segment.{stream}", Stretch, "fusion", "when a stretch with one label, a turn or a blink ends"),
    Topic("frame.{stream}", Job, "capture", "one per video frame, before it is analysed"),
    Topic("sound.{stream}", Job, "capture", "one per speech window"),
    Topic("stream.{stream}", StreamOpened, "capture", "when a stream begins or is announced again"),
    Topic("closed.{stream}", StreamClosed, "fusion", "when a stream has ended"),
    Topic("process.{name}", Heartbeat, "supervisor", "two a second for each process"),
    Topic("status", Status, "broker", "one a second"),
)

PREFIXES: dict[type[Message], str] = {topic.message: topic.pattern.partition("{")[0] for topic in TOPICS}
# Jobs have a topic for each modality.
JOB_PREFIXES: dict[Modality, str] = {"face": "frame.", "speech": "sound."}


def topic_of(message: Message, name: str = "") -> bytes:
    """The topic under which a message is published; `name` is its stream or process."""
    prefix = JOB_PREFIXES[message.modality] if isinstance(message, Job) else PREFIXES[type(message)]
    return (prefix + name).encode()
