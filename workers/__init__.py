"""The actors: one folder or file per OS process."""
