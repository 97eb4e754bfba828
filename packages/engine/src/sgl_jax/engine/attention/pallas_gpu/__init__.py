"""Paged attention for NVIDIA GPUs: Pallas kernels that Triton compiles (docs/adr/0030)."""
