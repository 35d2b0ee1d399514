"""The exceptions that cross module boundaries: misuse, unsupported and unavailable."""

from __future__ import annotations


class UsageError(ValueError):
    """What the user asked for cannot be; the message says what happened, what was expected and what
    to do next.
    """


class StoreError(UsageError):
    """The cache cannot be written, whatever the cell."""


class Unsupported(Exception):
    """This backend cannot run this cell, whatever is installed. The message says why, in words."""


class Unavailable(Exception):
    """This cell could run if something were present (a package, a device, a download). The message
    says what.
    """
