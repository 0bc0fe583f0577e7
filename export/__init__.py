"""Offline: foreign model formats become artifacts."""
