"""The null backend and the negative controls."""
