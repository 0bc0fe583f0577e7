"""The library room: knows emotions, artifacts and ONNX Runtime; knows nothing of ZeroMQ."""

import os

# ONNX Runtime 1.31 and later reports its use to its maker and keeps a device's number for that in the home directory,
# unless this stands in the environment before it is loaded. Nothing leaves this machine by itself.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
