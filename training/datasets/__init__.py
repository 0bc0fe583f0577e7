"""Readers of data sets: published files to arrays, and labels in the order of EMOTIONS."""
