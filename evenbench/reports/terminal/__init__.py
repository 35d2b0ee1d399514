"""Tables for the terminal: outcomes of a run, a history, pipelines, load scenarios."""
