"""How many workers with how many threads suit a machine: measured with the configured models, then chosen."""
