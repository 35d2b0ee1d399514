"""The expectations file: accepted changes of recorded cells, read and written as a whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbench.harness.core.errors import UsageError
from evenbench.harness.results.accepted_changes import Expectation


def read(file: Path) -> str:
    """The text of the file; empty without a file. Raises UsageError for an unreadable file."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file}: cannot be read ({error}); expected TOML, see docs/explanation/statistics.md"
        ) from error


def write(file: Path, text: str) -> None:
    """Replace the file as a whole, so a full disk leaves the old file.

    Raises UsageError if the file cannot be written.
    """
    copy = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        copy.write_text(text, encoding="utf-8")
        copy.replace(file)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise UsageError(
            f"{file}: could not be written ({error.strerror}); the old content is unchanged"
        ) from error


def expectation(cell: str, change: Mapping[str, Any], reason: str) -> Expectation:
    """The entry for a newly accepted change: the new level, valid from the settled commit.

    The level has six significant digits.
    """
    return Expectation(
        cell,
        change["metric"],
        float(f"{change['after']:.6g}"),
        change["settled"]["commit"],
        reason,
        change["settled"]["time"],
        change["environment"],
    )


def without_cell(accepted: Sequence[Expectation], cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """A note for every entry without a recorded cell, for example after a typing error."""
    known = {name for cell in cells for name in (cell["cell"], cell["key"])}
    return [
        f"accepted {entry.metric} of {entry.cell}: no recorded cell has this id or key; "
        "correct the entry, or remove it"
        for entry in accepted
        if entry.cell not in known
    ]
