"""Single preprocessing and postprocessing steps as benchmark cells."""
