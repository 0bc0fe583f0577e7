"""Offline: converts foreign model formats to artifacts."""
