"""TensorFlow Lite files to artifacts."""
