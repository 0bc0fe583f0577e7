"""PyTorch weights and TorchScript files to artifacts."""
