"""Segments and events in the formats of annotation programs: ELAN, Praat, WebVTT, SubRip, BORIS, and a long CSV. Pure.

One tier for each face ("face 1"), the voice, turns of speech, blinks and shots.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Literal, NamedTuple, TypeAlias
from xml.etree import ElementTree

from bimodal.broker.events import Emotion
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.recordings.segments import Segment
from bimodal.recordings.tables import DECIMALS, frame_columns, rows

FormatName = Literal["eaf", "textgrid", "webvtt", "srt", "boris", "csv-long"]


class Annotated(NamedTuple):
    """What is exported of a clip.

    Attributes:
        name: of the clip.
        media: path or address of its source, as it was given.
        events: one a frame, in order, on the time line of the clip.
        segments: its segments, by start.
        duration_s: its length.
        date: when it was made, ISO 8601 with a time zone.
        emotions: what it is about.
        folder: where the files are written, from which ELAN looks for the source if it has moved along with them.
    """

    name: str
    media: str
    events: Sequence[Emotion]
    segments: Sequence[Segment]
    duration_s: float
    date: str
    emotions: EmotionSet = SEVEN
    folder: Path | None = None


Tiers: TypeAlias = "dict[str, list[tuple[int, int, str]]]"
"""By name, stretches without overlap: start and end in milliseconds, label."""

_TIERS = {"face": "face", "voice": "voice", "other": "other", "turn": "turn", "blink": "blink", "shot": "shots"}


def tier_of(segment: Segment) -> str:
    """The tier of a segment: "face 1", "voice", "voice left", "turn 1" …"""
    whose = segment.channel or (str(segment.track) if segment.track is not None else "")
    return f"{_TIERS[segment.kind]} {whose}".strip()


def _shown_by(tier: str) -> str:
    """The face or voice that a tier is of, for those of further categories too."""
    kind, _, whose = tier.partition(" ")
    return (f"face {whose}" if whose.isdigit() else f"voice {whose}".strip()) if kind == _TIERS["other"] else tier


def tiers(segments: Iterable[Segment]) -> Tiers:
    """Sort segments into tiers; times are whole milliseconds, and no stretch begins before the one before it ends."""
    found: Tiers = {}
    for segment in segments:
        tier = found.setdefault(tier_of(segment), [])
        start = max(round(segment.start * 1000), tier[-1][1] if tier else 0)
        end = round(segment.end * 1000)
        if end > start:
            tier.append((start, end, segment.label))
    order = list(_TIERS.values())
    return {
        name: found[name]
        for name in sorted(found, key=lambda name: (order.index(name.split()[0]), len(name), name))
        if found[name]
    }


# ELAN


def eaf(clip: Annotated) -> str:
    """ELAN annotation document, EAF 3.0 (MPI for Psycholinguistics, The Language Archive)."""
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "bimodal",
            "DATE": clip.date,
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    header = ElementTree.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    place = PurePath(clip.media)
    media = {"MEDIA_URL": _legal(place.as_uri() if place.is_absolute() else clip.media), "MIME_TYPE": "video/*"}
    beside = clip.folder is None or not place.is_absolute()
    relative = place.name if beside else os.path.relpath(place, Path(clip.folder or "").absolute())
    media |= {"RELATIVE_MEDIA_URL": _legal(relative if relative.startswith("../") else f"./{relative}")}
    ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", media)
    order = ElementTree.SubElement(root, "TIME_ORDER")
    slots = annotations = 0
    for name, stretches in tiers(clip.segments).items():
        tier = ElementTree.SubElement(root, "TIER", {"LINGUISTIC_TYPE_REF": "default-lt", "TIER_ID": name})
        for start, end, label in stretches:
            for value in (start, end):
                slots += 1
                slot = {"TIME_SLOT_ID": f"ts{slots}", "TIME_VALUE": str(value)}
                ElementTree.SubElement(order, "TIME_SLOT", slot)
            annotations += 1
            held = ElementTree.SubElement(tier, "ANNOTATION")
            places = {"TIME_SLOT_REF1": f"ts{slots - 1}", "TIME_SLOT_REF2": f"ts{slots}"}
            one = ElementTree.SubElement(held, "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{annotations}"} | places)
            ElementTree.SubElement(one, "ANNOTATION_VALUE").text = _legal(label)
    kind = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true"}
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", kind)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _legal(text: str) -> str:
    """Text without characters that XML can't hold."""
    return "".join(c for c in text if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "￾￿"))


# Praat


def textgrid(clip: Annotated) -> str:
    """Praat TextGrid, long form: interval tiers, with empty intervals where there is nothing."""
    found = tiers(clip.segments)
    length = max([round(clip.duration_s * 1000), *(tier[-1][1] for tier in found.values()), 1])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {length / 1000:.3f}"]
    lines += ["tiers? <exists>", f"size = {len(found)}", "item []:"]
    for number, (name, stretches) in enumerate(found.items(), 1):
        intervals = _filled(stretches, length)
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}"]
        lines += [
            "        xmin = 0",
            f"        xmax = {length / 1000:.3f}",
            f"        intervals: size = {len(intervals)}",
        ]
        for place, (start, end, label) in enumerate(intervals, 1):
            lines += [f"        intervals [{place}]:", f"            xmin = {start / 1000:.3f}"]
            lines += [f"            xmax = {end / 1000:.3f}", f"            text = {_quoted(label)}"]
    return "\n".join(lines) + "\n"


def _filled(stretches: Iterable[tuple[int, int, str]], length: int) -> list[tuple[int, int, str]]:
    filled: list[tuple[int, int, str]] = []
    at = 0
    for start, end, label in stretches:
        if start > at:
            filled.append((at, start, ""))
        filled.append((start, end, label))
        at = end
    return [*filled, (at, length, "")] if at < length else filled


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


# Captions


def webvtt(clip: Annotated) -> str:
    """WebVTT: a cue for each emotion of a face or of the voice."""
    found = _captions(clip.segments)
    cues = [f"{_clock(start, '.')} --> {_clock(end, '.')}\n{_escaped(text)}\n" for start, end, text in found]
    return "\n".join(["WEBVTT\n", *cues])


def srt(clip: Annotated) -> str:
    """SubRip: the same cues, numbered."""
    cues = enumerate(_captions(clip.segments), 1)
    return "\n".join(f"{n}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n" for n, (start, end, text) in cues)


def _captions(segments: Iterable[Segment]) -> list[tuple[int, int, str]]:
    return [
        (
            round(one.start * 1000),
            max(round(one.end * 1000), round(one.start * 1000) + 1),
            f"{_shown_by(tier_of(one))}: {one.label} {100 * one.confidence:.0f} %",
        )
        for one in segments
        if one.kind in ("face", "voice", "other")
    ]


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"


def _escaped(text: str) -> str:
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())


# BORIS


def boris(clip: Annotated) -> str:
    """BORIS project (.boris, format version 7.0): one observation with state events; faces and voices are subjects."""
    found = tiers(clip.segments)
    codes = sorted({label for stretches in found.values() for _, _, label in stretches})
    behaviours = {
        str(number): {
            "type": "State event", "key": "", "code": code, "description": "", "color": "", "category": "",
            "modifiers": "", "excluded": "", "coding map": "",
        }
        for number, code in enumerate(codes)
    }  # fmt: skip
    subjects = {
        str(n): {"key": "", "name": name, "description": ""}
        for n, name in enumerate(dict.fromkeys(map(_shown_by, found)))
    }
    points = [
        (at / 1000, not begins, _shown_by(name), label)
        for name, stretches in found.items()
        for start, end, label in stretches
        for at, begins in ((start, True), (end, False))
    ]
    # At the same time what ends comes before what begins.
    points.sort(key=lambda point: (point[0], not point[1]))
    observation = {
        "file": {str(n): [clip.media] if n == 1 else [] for n in range(1, 9)},
        "type": "MEDIA",
        "date": clip.date[:19],
        "description": "made by bimodal",
        "time offset": 0.0,
        "events": [[at, name, label, "", "", 0] for at, _, name, label in points],
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "media_info": {"length": {clip.media: round(clip.duration_s, 3)}, "fps": {}, "hasVideo": {}, "hasAudio": {}},
    }
    project = {
        "time_format": "hh:mm:ss",
        "project_date": clip.date[:19],
        "project_name": clip.name,
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": subjects,
        "behaviors_conf": behaviours,
        "observations": {clip.name: observation},
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    return json.dumps(project, indent=1) + "\n"


# A long table


LONG_COLUMNS = ("t", "seq", "who", "measure", "value")
_NOT_MEASURED = ("t", "seq")


def csv_long(clip: Annotated) -> str:
    """One row for each frame and measure: t, seq, who ("face 1", "voice", "both"), measure (a column of the table),
    value. What is null has no row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LONG_COLUMNS)
    columns = frame_columns(clip.emotions)
    measured = [
        (place, column.name)
        for place, column in enumerate(columns)
        if column.type in ("float64", "bool") and column.name not in _NOT_MEASURED
    ]
    for event in clip.events:
        for number, (row, face) in enumerate(zip(rows(event, columns), event.faces or (None,), strict=True)):
            for place, name in measured:
                who = _who(name, None if face is None else face.track)
                # What belongs to the frame stands in each of its rows.
                if row[place] is None or (number and not who.startswith("face")):
                    continue
                value = row[place]
                writer.writerow((event.t, event.seq, who, name, round(float(value), DECIMALS)))  # type: ignore[arg-type]
    return text.getvalue()


def _who(name: str, track: int | None) -> str:
    if name.startswith(("speech_", "voice_")):
        return "voice"
    return "both" if name.startswith(("emotion_", "latency_")) or name == "agreement" else f"face {track}"


class Format(NamedTuple):
    """A format: how its files end, and what makes their content."""

    suffix: str
    make: Callable[[Annotated], str]


FORMATS: Mapping[FormatName, Format] = {
    "eaf": Format(".eaf", eaf),
    "textgrid": Format(".TextGrid", textgrid),
    "webvtt": Format(".vtt", webvtt),
    "srt": Format(".srt", srt),
    "boris": Format(".boris", boris),
    "csv-long": Format(".long.csv", csv_long),
}
