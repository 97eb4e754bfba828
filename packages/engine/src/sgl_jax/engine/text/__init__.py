"""Text on one side, token ids on the other. Pure host code: no jax, and nothing of a model but its tokenizer."""
