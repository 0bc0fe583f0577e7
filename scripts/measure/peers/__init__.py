"""Other programs beside ours, on the same pictures in one run: `python -m scripts.measure.peers`."""
