"""Fusion: order, align, track, dynamic model, fuse, smooth."""
