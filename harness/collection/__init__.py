"""Which cells are declared, and which of them the user selected."""
