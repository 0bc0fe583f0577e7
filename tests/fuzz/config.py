"""Text that claims to be config.yaml: a Config, or a ConfigError of one short sentence."""

from __future__ import annotations

from pathlib import Path

from bimodal.config import Config, read_config
from bimodal.workers.errors import ConfigError
from tests.fuzz.bodies import short

SHIPPED = Path(__file__).parents[2] / "config.yaml"


def seeds() -> list[bytes]:
    """The file that ships, whole and in sections, and what YAML has of its own."""
    text = SHIPPED.read_bytes()
    odd = [b"a: &a [*a]\n", b"? {a: b}\n: 1\n", b"streams: {d: {file: 2001-99-99}}\n", b"<<: 3\n", b"a: !!binary =\n"]
    return [text, *text.split(b"\n\n"), *odd]


def one(data: bytes) -> None:
    """Read it."""
    try:
        config = read_config(data, "config.yaml")
    except ConfigError as error:
        short(error)
        return
    assert isinstance(config, Config)


if __name__ == "__main__":
    from tests.fuzz.running import run

    run("config", ["bimodal.config", "bimodal.workers", "yaml"])
