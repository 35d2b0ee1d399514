"""All descendants of a worker process, and the end of all, also of other groups and sessions.

A build tool gives each of its jobs a process group, and other programs start sessions. The members
of a worker's family are known by the worker's session, or by a variable that children inherit. The
process guard runs this file as a script, so the file imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

MARK = "EVENBENCH_FAMILY"
"""The variable with a worker's mark, in the environment of the worker and all descendants."""

SCANS, PAUSE_SECONDS = 50, 0.02
"""A family is looked up until nobody is left, since a member may start another in between."""


def end(session: int, mark: str) -> None:
    """Kill all members of a family; `session` is the number of the worker's process."""
    for _ in range(SCANS):
        members = list(living(session, mark))
        for member in members:
            with contextlib.suppress(OSError):
                os.kill(member, signal.SIGKILL)
        if not members:
            return
        time.sleep(PAUSE_SECONDS)


def living(session: int, mark: str) -> Iterator[int]:
    """The numbers of the living members; nothing without /proc."""
    entry = f"{MARK}={mark}".encode()
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile
            if (os.getsid(int(name)) == session or _is_marked(name, entry)) and _lives(name):
                yield int(name)


def _is_marked(name: str, entry: bytes) -> bool:
    """Whether a process of this user carries the mark; the others' environments are not open."""
    if not os.access(f"/proc/{name}/environ", os.R_OK):
        return False
    with open(f"/proc/{name}/environ", "rb") as file:
        return entry in file.read().split(b"\0")


def _lives(name: str) -> bool:
    """Whether a process is alive, and no zombie."""
    with open(f"/proc/{name}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] != b"Z"


if __name__ == "__main__":
    for family in sys.argv[1:]:
        number, _, sign = family.partition(":")
        end(int(number), sign)
