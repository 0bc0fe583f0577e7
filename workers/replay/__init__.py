"""Recordings played back on the bus."""
