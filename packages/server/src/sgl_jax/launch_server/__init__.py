"""`python -m sgl_jax.launch_server`."""
