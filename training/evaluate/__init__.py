"""Measuring models and the whole pipeline."""
