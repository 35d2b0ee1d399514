"""Other sides of a run, by `--against`: past results, other releases and options, other commits."""
