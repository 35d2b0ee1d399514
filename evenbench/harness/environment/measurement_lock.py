"""The lock against two simultaneous measurements on one machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evenbench.harness.core.errors import UsageError

VARIABLE = "EVENBENCH_LOCK"
"""The path of another lock file, for runs that may disturb each other, such as tests."""

FOLDERS = (Path("/tmp"), Path("/dev/shm"))
"""Folders of the machine that every user may write to.

No `$TMPDIR`: two jobs of a CI runner, or two shells, have different ones. `/dev/shm` is second,
because a logout may empty it.
"""


def file() -> Path:
    """The lock file of this user on this machine, whatever the variables of the process are."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    usable = (folder for folder in FOLDERS if os.access(folder, os.W_OK | os.X_OK))
    return next(usable, Path(tempfile.gettempdir())) / f"evenbench-{os.getuid()}.lock"


@contextmanager
def alone() -> Iterator[None]:
    """Hold this user's lock for measuring. Raises UsageError if another process holds the lock."""
    import fcntl

    name = file()
    with _opened(name) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise UsageError(
                f"another evenbench (process {holder}) is measuring on this machine; wait for its "
                f"end, because two measurements would disturb each other (lock: {name})"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield


@contextmanager
def _opened(name: Path) -> Iterator[int]:
    """Open the lock file, and follow no link: everybody may write to the folder."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(name, flags, 0o600)
    except OSError as error:
        raise UsageError(
            f"the lock {name} cannot be opened ({error.strerror}); remove it, or set {VARIABLE} "
            "to a file of yours"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
