"""Frozen descriptions of what to run: the engine's flags and the model's shape."""
