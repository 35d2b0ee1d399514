"""Which process runs when, what it needs prepared, and the outcome of each cell."""
