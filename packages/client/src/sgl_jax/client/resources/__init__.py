"""One module for each group of endpoints. Each is written once, and serves both clients."""
