"""Exceptions across module boundaries: misuse, unsupported and unavailable."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from typing import Any, TypeVar

Declared = TypeVar("Declared")


class UsageError(ValueError):
    """An invalid request. The message says what happened, what was expected and what to do next."""


class StoreError(UsageError):
    """The cache cannot be written. Affects all cells."""


class Unsupported(Exception):
    """This backend cannot run this cell in any installation. The message has the reason."""


class Unavailable(Exception):
    """This cell needs a missing package, device or download. The message names the requirement."""


def naming_fields(kind: type[Declared]) -> type[Declared]:
    """A class decorator for declarations: an unknown field raises UsageError with the right name.

    Goes above `dataclass`, as dataclasses raise TypeError without a suggestion.
    """
    create: Any = kind.__init__

    @functools.wraps(create)
    def checked(self: Declared, *values: Any, **fields: Any) -> None:
        known = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        unknown = [name for name in fields if name not in known]
        if unknown:
            raise UsageError(
                f"{kind.__name__} has no field {', '.join(unknown)}; "
                f"{_nearest(unknown[0], known)} "
                "(docs/reference/declarations.md describes all fields)"
            )
        create(self, *values, **fields)

    kind.__init__ = checked  # type: ignore[method-assign, assignment]
    return kind


def _nearest(unknown: str, known: list[str]) -> str:
    near = difflib.get_close_matches(unknown, known, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
