"""Model families. Each file says how its family differs from the shared decoder."""
