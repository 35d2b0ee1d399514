"""Deployment bundles: files, sizes, and proofs."""
