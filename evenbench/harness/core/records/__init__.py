"""Types of the JSON records of a run, by subject."""
