"""Commands about the operators of a cell."""
