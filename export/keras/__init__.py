"""Keras files to artifacts."""
