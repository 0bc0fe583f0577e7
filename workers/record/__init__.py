"""Recorders: what people keep."""
