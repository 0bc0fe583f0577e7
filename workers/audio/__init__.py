"""Audio workers: window, voice activity, speech model."""
