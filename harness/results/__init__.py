"""Result records in JSON Lines, and what they show over time."""

from harness.results.records import read, schema

__all__ = ["read", "schema"]
