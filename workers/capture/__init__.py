"""Capture: camera, microphone, media files and network streams, one clock."""
