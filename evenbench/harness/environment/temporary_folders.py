"""Temporary folders that outlive a killed process only until the next command.

A folder is locked (flock) while its process lives. The kernel releases the lock at any end of the
process, so a later command recognises and removes the folders of killed processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PREFIX, SUFFIX = "evenbench-", ".held"

YOUNG_SECONDS = 5.0
"""A folder without lock may be younger: its process is about to lock the folder."""


@contextlib.contextmanager
def held(purpose: str) -> Iterator[Path]:
    """A new temporary folder, locked and then removed, even if children left files inside."""
    remove_abandoned(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-", suffix=SUFFIX))
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def remove_abandoned(parent: str) -> None:
    """Remove the folders of killed processes in `parent`, once per process."""
    for folder in Path(parent).glob(f"{PREFIX}*{SUFFIX}"):
        if is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def is_abandoned(folder: Path) -> bool:
    """Whether a folder is named as by `held`, and absent or left by a killed process."""
    if not (folder.name.startswith(PREFIX) and folder.name.endswith(SUFFIX)):
        return False
    try:
        state = folder.lstat()
    except FileNotFoundError:
        return True
    if state.st_uid != os.getuid() or time.time() - state.st_mtime < YOUNG_SECONDS:
        return False
    with _locked(folder) as is_locked:
        return is_locked


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder; the value is False if another process holds the lock.

    File systems without locks count as held by others, so nothing is removed.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
