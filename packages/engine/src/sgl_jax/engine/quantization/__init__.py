"""Weights that stay packed on the device: the formats, packing on the host, and products on packed matrices."""
