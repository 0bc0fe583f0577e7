"""Quantization: INT8 from fp32, with the loss of accuracy measured."""
