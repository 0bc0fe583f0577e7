"""A real-time bimodal emotion detector: faces and speech."""
