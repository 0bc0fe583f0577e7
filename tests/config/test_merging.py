"""Several config files as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bimodal.config import Config, load_config
from bimodal.workers.errors import ConfigError


def merged(tmp_path: Path, *texts: str) -> Config:
    paths = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return load_config(paths)


@pytest.mark.parametrize(
    ("before", "later", "together"),
    [
        (
            "fusion: {video_weight: 0.6}",
            "fusion: {speech_weight: 0.1}",
            "fusion: {video_weight: 0.6, speech_weight: 0.1}",
        ),
        ("fusion: {video_weight: 0.6}", "fusion: {video_weight: 0.1}", "fusion: {video_weight: 0.1}"),
        ("fusion: {video_weight: 0.6}", "fusion:", "fusion: {video_weight: 0.6}"),
        ("models: {speech: [speech-voice, speech-compact]}", "models: {speech: none}", "models: {speech: none}"),
        ("workers: {face: {count: 2}}", "workers: {face: {cores: [0]}}", "workers: {face: {count: 2, cores: [0]}}"),
        ("workers: {face: {count: {min: 1, max: 4}}}", "workers: {face: {count: 2}}", "workers: {face: {count: 2}}"),
        (
            "streams: {a: {camera: 0}, b: {file: x.mp4}}",
            "streams: {b: {loop: true}, c: {auto: true}}",
            "streams: {a: {camera: 0}, b: {file: x.mp4, loop: true}, c: {auto: true}}",
        ),
        ("streams: {a: {file: x.mp4, loop: true}}", "streams: {a: {camera: 0}}", "streams: {a: {camera: 0}}"),
        ("streams: {a: {camera: 0}}", "streams: {a: {push: true}}", "streams: {a: {push: true}}"),
        ("streams: {a: {camera: 0}, b: {auto: true}}", "streams: {a: null}", "streams: {b: {auto: true}}"),
        ("outputs: {view: 8080}", "outputs: {view: {faces: hide}}", "outputs: {view: {port: 8080, faces: hide}}"),
        ("outputs: {view: false}", "outputs: {view: 8080}", "outputs: {view: 8080}"),
        ("outputs: {view: {port: 8080}}", "outputs: {view: off}", "outputs: {view: {enabled: false, port: 8080}}"),
        ("outputs: {view: off}", "outputs: {view: on}", "outputs: {view: true}"),
        (
            "outputs: {record: here}",
            "outputs: {record: {video: true}}",
            "outputs: {record: {folder: here, video: true}}",
        ),
        ("outputs: {record: here}", "outputs: {record: null}", "{}"),
        ("outputs: {record: {folder: here, video: true}}", "outputs: {record: false}", "{}"),
        ("outputs: {events: ['tcp://127.0.0.1:1']}", "outputs: {events: []}", "{}"),
        ("", "log: {level: DEBUG}", "log: {level: DEBUG}"),
        ("log: {level: DEBUG}", "# nothing", "log: {level: DEBUG}"),
    ],
)
def test_a_later_file_adds_and_wins(tmp_path: Path, before: str, later: str, together: str) -> None:
    assert merged(tmp_path, before, later) == merged(tmp_path, together)


def test_one_file_in_three_is_the_same_as_in_one(tmp_path: Path) -> None:
    values = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
    parts: list[dict[str, Any]] = [{}, {}, {}]
    for number, (key, value) in enumerate(values.items()):
        parts[number % 3][key] = value
    assert merged(tmp_path, *map(yaml.safe_dump, parts)) == Config()


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (
            ("fusion:\n  video_weight: 0.5\n", "\nfusion: {video_weight: -1}"),
            "1.yaml, line 2: in 'fusion.video_weight'",
        ),
        (("fusion:\n  video_weight: -1\n", "fusion: {speech_weight: 1}"), "0.yaml, line 2: in 'fusion.video_weight'"),
        (("fusion: {}", "fusion:\n\n  smothing_s: 1"), "1.yaml, line 3: in 'fusion': unknown key 'smothing_s'"),
        (("fuson: {}", "log: {}"), "0.yaml, line 1: unknown key 'fuson'"),
        (
            ("streams:\n  a: {auto: true}\n", "streams:\n\n  a: {loop: true}\n"),
            "0.yaml, line 2 and ",
        ),
        (("streams:\n  a: {auto: true}\n", "streams: {a: null}\n"), "names no stream"),
        (("log: {}", "outputs: {view: {\n token_file: /no/such}}"), "1.yaml, line 2: in 'outputs.view.token_file'"),
        (("log: {}", "- a list"), "1.yaml must hold keys and values"),
        (("log: {}", "a: b: c"), "1.yaml is not valid YAML"),
        (("workers: {face: {count: 0}}", "log: {}"), "set 'network.workers'"),
    ],
)
def test_errors_name_the_file_and_the_line(tmp_path: Path, texts: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        merged(tmp_path, *texts)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_among_several_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("log: {}")
    with pytest.raises(ConfigError, match=r"there is no config file .*b\.yaml"):
        load_config([tmp_path / "a.yaml", tmp_path / "b.yaml"])


def test_no_workers_here_is_fine_where_others_may_come(tmp_path: Path) -> None:
    config = merged(tmp_path, "network: {workers: ['tcp://127.0.0.1:5656']}", "workers: {face: {count: 0}}")
    assert config.workers.face.count == 0
