"""How a run shows that it is alive: a live table on a terminal, a few plain lines elsewhere, nothing when quiet."""
