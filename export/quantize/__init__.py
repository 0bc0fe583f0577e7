"""Smaller models: INT8 from fp32, with what it costs in accuracy."""
