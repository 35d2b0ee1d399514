"""Result records in JSON Lines, and changes of results over time."""

from evenbench.harness.results.records import read, schema

__all__ = ["read", "schema"]
