"""The lock that keeps two measurements from running on one machine at the same time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.core.errors import UsageError


@contextmanager
def alone() -> Iterator[None]:
    """Hold this user's one lock for measuring. Raises UsageError where another process has it: two
    would disturb each other.
    """
    import fcntl

    name = Path(tempfile.gettempdir()) / f"evenbench-{os.getuid()}.lock"
    with name.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise UsageError(
                f"another evenbench (process {lock.read().strip() or 'unknown'}) is measuring on this machine; wait until it is done, "
                "since two at a time would time each other"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
