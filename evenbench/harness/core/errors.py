"""Exceptions across module boundaries: misuse, unsupported and unavailable."""

from __future__ import annotations


class UsageError(ValueError):
    """An invalid request. The message says what happened, what was expected and what to do next."""


class StoreError(UsageError):
    """The cache cannot be written. Affects all cells."""


class Unsupported(Exception):
    """This backend cannot run this cell in any installation. The message has the reason."""


class Unavailable(Exception):
    """This cell needs a missing package, device or download. The message names the requirement."""
