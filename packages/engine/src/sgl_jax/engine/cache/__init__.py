"""Who owns which KV page. Host bookkeeping only: no arrays, no jax."""
