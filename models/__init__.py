"""Emotions, artifacts and ONNX Runtime. Knows nothing of ZeroMQ."""

import os

# ONNX Runtime 1.31 and later sends telemetry and keeps a device identifier for it in the home directory, unless this
# is in the environment before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
