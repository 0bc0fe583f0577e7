"""The demo clip that is shown where there is no camera and no microphone, and how it was made."""

from pathlib import Path

DEMO = Path(__file__).with_name("demo.mp4")
