"""What happens to values before a network sees them, as pieces of an ONNX graph in plain operators.

A piece is a function: a Draft and the names of tensors in, nodes and constants added, the name of its result out. Pieces
for faces are in faces.py, for sound in speech.py; presets.py puts them together for published models.
"""
