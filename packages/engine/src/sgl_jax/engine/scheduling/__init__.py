"""Decides what each step computes. Integers in, integers out: no arrays, no jax."""
