"""Readers of data sets: files in their published form in, arrays and labels in the order of EMOTIONS out."""
