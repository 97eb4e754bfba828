"""Checkpoint files as named arrays, and the loader that fills the model's parameters from them."""
