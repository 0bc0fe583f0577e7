"""Supervision of a session's processes by its table: start, watch, restart, swap, scale, stop."""
