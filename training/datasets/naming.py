"""What file names of published data sets say: emotion and speaker.

RAVDESS: Livingstone & Russo 2018, doi:10.1371/journal.pone.0196391 (modality-channel-emotion-intensity-statement-
repetition-actor). CREMA-D: Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244 (actor_sentence_emotion_level). EMO-DB:
Burkhardt et al. 2005 (two digits of speaker, three of text, the emotion's first letter in German, version). MEAD as its
samples are named here (speaker, emotion).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bimodal.models.emotions import emotion_of
from bimodal.models.errors import LabelError

RAVDESS_EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad",
    "05": "angry", "06": "fearful", "07": "disgust", "08": "surprised",
}  # fmt: skip
CREMA_D_EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
EMO_DB_EMOTIONS = {
    "W": "anger", "L": None, "E": "disgust", "A": "fear", "F": "happy", "T": "sad", "N": "neutral",
}  # fmt: skip
"""Wut, Langeweile (boredom: outside the seven), Ekel, Angst, Freude, Trauer, neutral."""

RAVDESS = re.compile(r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
CREMA_D = re.compile(r"(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)")
EMO_DB = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z]?)")
MEAD = re.compile(r"mead_([MW]\d{3})_([a-z]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """What a name says: the emotion (None: outside the seven) and who shows it."""

    emotion: str | None
    speaker: str


def ravdess(stem: str, modalities: tuple[str, ...]) -> Named | None:
    """Speech (channel 01) of one of the modalities: 01 picture and sound, 02 picture, 03 sound; else None."""
    match = RAVDESS.fullmatch(stem)
    if match is None or match[1] not in modalities or match[2] != "01":
        return None
    return Named(emotion_of(RAVDESS_EMOTIONS[match[3]]), f"Actor_{match[7]}")


def crema_d(stem: str) -> Named | None:
    """None where the name is not CREMA-D's. One file of the original ends in _X instead of _XX."""
    match = CREMA_D.fullmatch(stem)
    return None if match is None else Named(CREMA_D_EMOTIONS[match[3]], match[1])


def emo_db(stem: str) -> Named | None:
    """None where the name is not EMO-DB's."""
    match = EMO_DB.fullmatch(stem)
    return None if match is None else Named(EMO_DB_EMOTIONS[match[3]], match[1])


def clip(stem: str) -> Named | None:
    """Any of the schemes above, or MEAD's; None where the name says no emotion that bimodal knows."""
    for named in (ravdess(stem, ("01", "02", "03")), crema_d(stem), emo_db(stem)):
        if named is not None:
            return named
    match = MEAD.match(stem)
    if match is None:
        return None
    try:
        return Named(emotion_of(match[2]), match[1])
    except LabelError:
        return None
