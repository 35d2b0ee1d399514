"""A module per command: `EPILOG`, `EXIT_CODES`, `add_arguments` and `run` with typed options."""
