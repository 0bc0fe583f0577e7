"""`bimodal doctor`: checks of this machine, and measuring which numbers of workers and threads suit it."""
