"""The engine for functions written in NumPy: `Tensor`, and the NumPy functions that it knows."""
