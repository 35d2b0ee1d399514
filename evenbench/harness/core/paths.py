"""The location of this evenbench installation, and files that are not what their names say."""

from __future__ import annotations

from pathlib import Path

from evenbench.harness.core.errors import UsageError

PROJECT = Path(__file__).resolve().parents[3]
"""The folder of the package `evenbench`: a checkout, or site-packages."""

POINTER = b"version https://git-lfs.github.com/spec/"


def check_content(file: Path) -> None:
    """Raise UsageError for a Git LFS pointer, a small text in place of the file's content."""
    try:
        with file.open("rb") as stream:
            head = stream.read(len(POINTER))
    except OSError:
        return  # reported where the file is read
    if head == POINTER:
        raise UsageError(
            f"{file} is a Git LFS pointer, not the file's content; fetch it with `git lfs pull`"
        )
