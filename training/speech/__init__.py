"""Speech models: sound, training and their artifacts."""
