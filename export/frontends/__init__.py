"""What happens to values before a network sees them, as pieces of an ONNX graph in plain operators.

Pieces for faces are in faces.py. A piece for sound is a value that says what it does and can be called: a Draft and the
name of a tensor in, nodes and constants added, the name of its result out (levels.py, spectrum.py, layout.py).
speech.py puts them together, reference.py does the same with librosa, presets.py has those of published models.
"""
