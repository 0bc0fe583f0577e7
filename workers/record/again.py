"""What it takes to look at a recorded clip again: its media, as it was, and its config with other models."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import av

from bimodal.config import Config, check_config
from bimodal.models.catalog import sha256_of
from bimodal.recordings.reading import Clip, Part
from bimodal.recordings.recording import RecordError
from bimodal.workers.film.writer import BEGINS

FILM = ".mp4"
SECTIONS = ("models", "face", "audio", "fusion", "capture", "runtime")
KINDS = ("face-detector", "face-landmarks", "face-static", "face-dynamic", "speech", "voice-activity", "fusion")


class Reel(NamedTuple):
    """Media of a clip (or of a part of it), and the parts of the lines that it belongs to.

    `begin_s` is where a film begins on the stream's time line; None where frames are those that were looked at, with
    the same numbers.
    """

    clip: Clip
    parts: tuple[Part, ...]
    media: Path
    begin_s: float | None


def reels(clip: Clip) -> list[Reel]:
    """The clip's media: the file it was analysed from, or the films of a live stream.

    Raises RecordError, saying why, where they are not there or not the same any more.
    """
    return _films(clip) if clip.live else [_source(clip)]


def _source(clip: Clip) -> Reel:
    source = clip.stream.source if clip.stream is not None else None
    if source is None or source.file is None:
        raise RecordError(
            f"nothing says what {clip.name} was made from: there is no {clip.name}.session.json beside it"
        )
    media = Path(source.file)
    if not media.is_file():
        raise RecordError(f"{clip.name} can't be looked at again: its source {media} is not there any more")
    if source.sha256 is not None and (media.stat().st_size != source.bytes or sha256_of(media) != source.sha256):
        raise RecordError(f"{clip.name} can't be looked at again: {media} was changed since (its sha256 is another)")
    return Reel(clip, clip.parts, media, begin_s=None)


def _films(clip: Clip) -> list[Reel]:
    if _drawn_upon(clip):
        raise RecordError(
            f"the films of {clip.name} are drawn upon, so they can't be looked at again; "
            "record with 'annotated: false' to compare models later"
        )
    found = []
    for film in sorted(clip.folder.glob(f"[0-9]*-[0-9]*{FILM}")):
        # A recorder and a film that were begun again count for themselves; what they share is run and part.
        parts = tuple(part for part in clip.parts if _run_and_part(part.path) == _run_and_part(film))
        if parts:
            found.append(Reel(clip, parts, film, begin_s=_begin(film)))
    if not found:
        raise RecordError(
            f"{clip.name} was recorded without video ('outputs.record.video'), so there is nothing to look at"
        )
    return found


def _run_and_part(path: Path) -> list[str]:
    return path.name.partition(".")[0].split("-")[:2]


def _begin(film: Path) -> float:
    """Raises RecordError where the film can't be read, or does not say where it begins."""
    try:
        with av.open(str(film)) as container:
            said = container.metadata.get("comment", "")
    except (av.FFmpegError, OSError) as error:
        raise RecordError(f"{film} can't be read as a film") from error
    if not said.startswith(BEGINS) or not said.removeprefix(BEGINS).isdigit():
        raise RecordError(f"{film} does not say where on the stream's time line it begins, so it can't be compared")
    return int(said.removeprefix(BEGINS)) / 1e9


def _drawn_upon(clip: Clip) -> bool:
    outputs = clip.session.config.get("outputs") if clip.session is not None else None
    record = outputs.get("record") if isinstance(outputs, Mapping) else None
    if not isinstance(record, Mapping):
        return False
    return bool(record.get("annotated", False)) or record.get("faces") == "hide"


def config_with(clip: Clip, fallback: Config, changes: Mapping[str, Sequence[str]]) -> Config:
    """The config that the clip was made with, `fallback` where none was kept, with other models by kind.

    Raises ConfigError where the kept config is not understood any more.
    """
    kept = clip.session.config if clip.session is not None else fallback_sections(fallback)
    values: dict[str, object] = {section: kept[section] for section in SECTIONS if section in kept}
    models = values.get("models")
    values["models"] = {**(models if isinstance(models, Mapping) else {}), **{k: _one(v) for k, v in changes.items()}}
    values["workers"] = fallback.workers.model_dump(by_alias=True)
    return check_config(values, f"the config of {clip.name}")


def fallback_sections(config: Config) -> dict[str, object]:
    """The config's models; everything else is as its defaults."""
    return {"models": config.models.model_dump(by_alias=True)}


def _one(names: Sequence[str]) -> object:
    return names[0] if len(names) == 1 else list(names)


def parse_changes(given: Sequence[str]) -> dict[str, list[str]]:
    """["face-static=a", "face-static=b"] → {"face-static": ["a", "b"]}.

    Raises RecordError where one is not KIND=NAME or the kind is unknown.
    """
    changes: dict[str, list[str]] = {}
    for text in given:
        kind, equals, name = text.partition("=")
        if not equals or not name:
            raise RecordError(f"'{text}' is not KIND=NAME, such as face-static=face-compact")
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(KINDS)}"
            raise RecordError(f"there is no kind of model '{kind}'; {hint}")
        changes.setdefault(kind, []).append(str(Path(name).absolute()) if name.endswith(".onnx") else name)
    return changes


def changed_since(clip: Clip, now: Mapping[str, str], changes: Mapping[str, object]) -> list[str]:
    """Models that were not meant to change and are other files now. `now` is sha256 by what the config calls them."""
    if clip.session is None:
        return []
    return [
        f"{model.kind} {model.given} is another file than when {clip.name} was recorded"
        for model in clip.session.models
        if model.kind not in changes and now.get(model.given, model.sha256) != model.sha256
    ]
