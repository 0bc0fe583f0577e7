"""The one-page report of a clip."""
