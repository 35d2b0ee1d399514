"""Collection of declared cases and users' own models, and selection of cells."""
