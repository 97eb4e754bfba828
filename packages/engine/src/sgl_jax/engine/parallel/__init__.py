"""One model over several devices: a share of it each, and sums between them."""
