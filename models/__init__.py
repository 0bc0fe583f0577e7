"""The library room: knows emotions, artifacts and ONNX Runtime; knows nothing of ZeroMQ."""
