"""SGL-JAX bench."""
