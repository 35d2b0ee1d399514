"""One module per command: its flags and its output."""
