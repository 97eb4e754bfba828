"""Products with packed matrices as GPU kernels (Pallas, Triton): codes are unpacked in registers, never in memory."""
