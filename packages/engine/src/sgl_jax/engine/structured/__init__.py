"""Structured output: which tokens a grammar allows next. Host code around `llguidance`: no jax."""
