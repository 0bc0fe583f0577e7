"""config.yaml: typed, forbidding, and helpful where it is wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bimodal.config import Config, check_config, load_config
from bimodal.config.reading import read_config
from bimodal.workers.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_the_file_that_ships_says_the_defaults_and_every_key() -> None:
    path = REPOSITORY / "config.yaml"
    assert load_config(path) == Config()
    values = yaml.safe_load(path.read_text())
    assert set(values) == set(Config.__struct_fields__)
    for section in set(values) - {"streams", "emotions", "categories"}:
        assert set(values[section]) == set(getattr(Config(), section).__struct_encode_fields__), section


def test_every_key_of_the_file_that_ships_is_commented_or_explains_itself_by_its_section() -> None:
    text = (REPOSITORY / "config.yaml").read_text()
    values = yaml.safe_load(text)
    for section in values:
        before = text[: text.index(f"\n{section}:")].splitlines()[-1]
        assert before.startswith("#") or section == "log", section


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fuson: {}", "unknown key 'fuson'; did you mean 'fusion'?"),
        ("fusion: {smothing_s: 1}", "in 'fusion': unknown key 'smothing_s'; did you mean 'smoothing_s'?"),
        ("workers: {face: {cuont: 2}}", "in 'workers.face': unknown key 'cuont'; did you mean 'count'?"),
        ("streams: {desk: {auto: true, camrea: 0}}", "in 'streams.desk': unknown key 'camrea'; did you mean 'camera'?"),
        ("models: {face-statik: x}", "in 'models': unknown key 'face-statik'; did you mean 'face-static'?"),
        ("workers: {face: {count: -1}}", "must be 'auto', a number from 0 to 256, or {min: …, max: …}"),
        ("workers: {face: {count: 0}}", "set 'network.workers' to the address where they connect"),
        ("workers: {face: {count: many}}", "workers.face.count"),
        ("runtime: {provider: cdua}", "in 'runtime.provider'"),
        ("streams: {desk: {}}", "needs exactly one source"),
        ("streams: {desk: {auto: true, url: 'rtsp://x'}}", "needs exactly one source"),
        ("streams: {desk: {url: 'rtsp://x', loop: true}}", "'loop' goes with 'file' only"),
        ("streams: {}", "names no stream"),
        ("streams: {a/b: {auto: true}}", "without slashes"),
        ("fusion: {video_weight: -1}", "in 'fusion.video_weight': must be a number of at least 0, not -1"),
        ("fusion: 3", "must be a section"),
        ("outputs: {view: {base_path: mood}}", "'outputs.view.base_path': must be text such as '/emotions'"),
        ("streams: {a: {camera: -1}}", "'streams.a.camera': must be a number from 0 to 65535, text, or null"),
        ("fusion: {strategy: learned}", "fusion.strategy 'learned' needs a model: set 'models.fusion'"),
        ("- a list", "must hold keys and values"),
        ("streams: [", "is not valid YAML"),
        ("a: b: c", "line 1"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config file"):
        load_config(tmp_path / "nowhere.yaml")
    path = tmp_path / "binary.yaml"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match=r"binary\.yaml"):
        load_config(path)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "# nothing\n")) == Config()


def test_yaml_that_would_build_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_config(written(tmp_path, "streams: !!python/object/apply:os.system ['true']"))


words = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
keys = st.sampled_from([*Config.__struct_fields__, "desk", "face", "count", "auto"]) | st.text(max_size=6)


@given(st.dictionaries(keys, st.dictionaries(keys, words, max_size=3) | words, max_size=4))
def test_any_values_give_a_config_or_one_sentence(values: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(check_config(values, "config.yaml"), Config)


def test_a_key_that_stands_twice_is_told_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    text = (
        b"workers: {}\nstreams: &s\n  a: {camera: 0, camera: 1}\nworkers: {face: {count: 2}}\nface: {<<: {}, <<: {}}\n"
    )
    assert read_config(text, "a.yaml").workers.face.count == 2
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"a.yaml, line {line}: '{key}' stands there twice: this one counts, the one above is lost"
        for line, key in ((4, "workers"), (3, "camera"))
    ]
    caplog.clear()
    with pytest.raises(ConfigError):
        read_config(b"x: &a [*a]\ny: {z: *a}\n", "b.yaml")
    assert caplog.records == []
