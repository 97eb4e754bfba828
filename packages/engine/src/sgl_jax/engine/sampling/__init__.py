"""Draws tokens from logits, on the device and without sorting the vocabulary."""
