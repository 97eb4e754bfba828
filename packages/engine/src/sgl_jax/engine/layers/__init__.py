"""The small parts that every decoder is made of, as NNX modules."""
