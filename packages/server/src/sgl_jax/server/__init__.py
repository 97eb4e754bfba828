"""SGL-JAX server."""
