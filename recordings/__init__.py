"""Results on disk: writing, reading, comparing and reporting of recordings."""
