"""SGL-JAX engine."""
