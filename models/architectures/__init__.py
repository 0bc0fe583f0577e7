"""Torch modules of the networks we train or convert. Only the rooms export and training import these."""
