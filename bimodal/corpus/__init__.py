"""Corpora: folders, globs and lists in, one table out, each clip exactly once (docs/corpora.md)."""
