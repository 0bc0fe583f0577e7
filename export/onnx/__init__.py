"""Foreign ONNX files to artifacts."""
