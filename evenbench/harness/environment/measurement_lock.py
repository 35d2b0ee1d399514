"""The lock against two simultaneous measurements on one machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evenbench.harness.core.errors import UsageError


@contextmanager
def alone() -> Iterator[None]:
    """Hold this user's lock for measuring. Raises UsageError if another process holds the lock."""
    import fcntl

    name = Path(tempfile.gettempdir()) / f"evenbench-{os.getuid()}.lock"
    with name.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise UsageError(
                f"another evenbench (process {lock.read().strip() or 'unknown'}) is measuring on "
                "this machine; wait for its end, "
                "because two measurements would disturb each other"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
