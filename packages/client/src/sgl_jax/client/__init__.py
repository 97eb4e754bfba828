"""SGL-JAX client."""
