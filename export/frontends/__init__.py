"""Preprocessing of values, as pieces of an ONNX graph in plain operators.

Pieces for faces are in faces.py. A piece for sound is a setting that can be called with a Draft and the name of a
tensor; it adds nodes and constants and returns the name of its result (levels.py, spectrum.py, layout.py). speech.py
combines them, reference.py computes the same with librosa, presets.py has those of published models.
"""
