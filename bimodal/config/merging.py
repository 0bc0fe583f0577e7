"""Several config files as one: a later file adds to the ones before it, and wins where both say something."""

from __future__ import annotations

import types
from typing import Any, get_args, get_origin

import msgspec

from bimodal.values import Forms, bare_of, is_struct, members_of
from bimodal.workers.capture.settings import StreamSettings

SOURCES = ("auto", "camera", "microphone", "url", "file", "browser", "push")
"""Keys of a stream that name its source: a later file that has one of them replaces the stream whole."""


def merge(before: Any, later: Any, kind: Any, forms: Forms) -> Any:
    """Merge two values of the type `kind`, as YAML has them.

    Sections are merged key by key, streams by name; a stream that is null in the later file is dropped. Everything
    else, lists too, is the later file's. Short forms (`view: 8484`) count as the section that they stand for. Nothing
    is checked: what is wrong stays wrong.
    """
    members = members_of(kind)
    for member in members:
        if member in forms:
            before, later = _full(before, forms[member]), _full(later, forms[member])
    bare = [bare_of(member) for member in members]
    sections = [member for member in bare if is_struct(member) or get_origin(member) is dict]
    if later is None and sections and types.NoneType not in bare:
        return before  # a section whose keys are all commented out
    if not sections or not isinstance(before, dict) or not isinstance(later, dict):
        return later
    return _merge_sections(before, later, sections[0], forms)


def _merge_sections(before: dict[Any, Any], later: dict[Any, Any], section: Any, forms: Forms) -> dict[Any, Any]:
    if section is StreamSettings and any(key in later for key in SOURCES):
        return later
    if not is_struct(section):
        kept = {key: value for key, value in before.items() if later.get(key, value) is not None}
        item = get_args(section)[1]
        added = {key: value for key, value in later.items() if value is not None or key not in before}
        return kept | {
            key: merge(kept[key], value, item, forms) if key in kept else value for key, value in added.items()
        }
    kinds = {field.encode_name: field.type for field in msgspec.structs.fields(section)}
    return before | {
        key: merge(before[key], value, kinds[key], forms) if key in before and key in kinds else value
        for key, value in later.items()
    }


def _full(value: Any, form: Any) -> Any:
    """The full value of a short form; one that is none of them stays, and is refused when all is checked."""
    try:
        return form(value)
    except ValueError:
        return value
