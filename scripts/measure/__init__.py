"""Measurements that only developers of bimodal need."""
