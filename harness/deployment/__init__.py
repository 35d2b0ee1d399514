"""Deployment bundles: what is shipped, how large it is, and whether it works."""
