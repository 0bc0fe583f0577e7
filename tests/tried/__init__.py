"""Kinds of recordings, made and looked at: `python -m tests.tried` prints the table of docs/tried.md."""
