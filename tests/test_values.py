"""Values as YAML gives them → Structs: what is taken, and the sentence on what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
import yaml

from bimodal.values import WrongValueError, convert


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    """`most` is not less than `least`."""

    least: int = 1
    most: int

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ValueError("'least' is more than 'most'")


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    """One key of each kind."""

    word: Literal["auto", "off", "on"] = "auto"
    answer: Literal["yes", "no"] = "yes"
    truth: bool = False
    either: bool | Literal["machine"] = False
    number: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    limit: Annotated[float, msgspec.Meta(ge=0)] | None = None
    secret: Annotated[str, msgspec.Meta(min_length=4, max_length=8)] | None = None
    device: int | str | None = None
    folder: Path | None = None
    cores: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(min_length=1)] | None = None
    count: Literal["auto"] | int | Inner = "auto"
    named: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("word: off", "off"), ("word: 'off'", "off"), ("word: on", "on"), ("word: 'on'", "on"), ("answer: no", "no"),
        ("answer: 'yes'", "yes"), ("truth: on", True), ("truth: 'off'", False), ("truth: 'true'", True),
        ("either: 'no'", False), ("either: machine", "machine"), ("number: '8'", 8), ("number: auto", "auto"),
        ("share: 1e-1", 0.1), ("limit: 'null'", None), ("limit: 2", 2.0), ("device: '0'", "0"), ("device: 0", 0),
        ("device: 'null'", "null"), ("folder: a/b", Path("a/b")), ("cores: [0, 2]", (0, 2)), ("count: 3", 3),
        ("count: {most: 3}", Inner(most=3)), ("named: {a: {most: 1}}", {"a": Inner(most=1)}),
    ],
)  # fmt: skip
def test_what_is_taken(text: str, value: object) -> None:
    found = getattr(convert(yaml.safe_load(text), Outer), text.partition(":")[0])
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("wort: on", "unknown key 'wort'; did you mean 'word'?"),
        ("word: of", "in 'word': must be 'auto', 'off', or 'on', not 'of'"),
        ("word: null", "in 'word': must be 'auto', 'off', or 'on', not null"),
        ("truth: maybe", "in 'truth': must be true or false, not 'maybe'"),
        ("either: yep", "in 'either': must be true, false, or 'machine', not 'yep'"),
        ("number: 10", "in 'number': must be 'auto' or a number from 1 to 9, not 10"),
        ("number: 2.5", "in 'number': must be 'auto' or a whole number from 1 to 9, not 2.5"),
        ("number: true", "in 'number': must be 'auto' or a number from 1 to 9, not true"),
        ("share: 1", "in 'share': must be a number above 0 and below 1, not 1"),
        ("limit: -1", "in 'limit': must be a number of at least 0 or null, not -1"),
        ("limit: .inf", "in 'limit': must be a finite number"),
        ("secret: abc", "in 'secret': must be text of 4 to 8 characters or null"),
        ("secret: 12345", "in 'secret': must be text of 4 to 8 characters or null; put it in quotes"),
        ("folder: 3", "in 'folder': must be a path or null, not 3"),
        ("cores: [0, -1]", "in 'cores.1': must be a number of at least 0, not -1"),
        ("cores: []", "in 'cores': must be a list of 1 or more items or null"),
        ("cores: 1", "in 'cores': must be a list of 1 or more items or null, not 1"),
        ("count: {most: x}", "in 'count.most': must be a number, not 'x'"),
        ("count: {}", "in 'count': the key 'most' is missing"),
        ("count: {least: 3, most: 2}", "in 'count': 'least' is more than 'most'"),
        ("count: []", "in 'count': must be 'auto', a number, or {least: …, most: …}, not a list"),
        ("named: {a: {mots: 1}}", "in 'named.a': unknown key 'mots'; did you mean 'most'?"),
        ("named: {on: {most: 1}}", "in 'named.True': a name must be text: put it in quotes"),
        ("named: 3", "in 'named': must be a section of keys and values, not 3"),
        ("3", "must be a section of keys and values, not 3"),
    ],
)
def test_what_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(WrongValueError) as caught:
        convert(yaml.safe_load(text), Outer)
    assert str(caught.value) == sentence


def test_short_forms_stand_for_sections() -> None:
    forms = {Inner: lambda value: {"most": value} if isinstance(value, int) else value}
    assert convert({"named": {"a": 4}}, Outer, forms).named == {"a": Inner(most=4)}
