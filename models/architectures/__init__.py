"""PyTorch modules of the networks that we train or convert. Only export and training import these."""
