"""A guard that ends worker processes, and all their descendants, when this process is killed.

The kernel ends a worker with its parent (PR_SET_PDEATHSIG), but not what the worker has started:
compilers, linkers and tuners. The guard is a small shell in a session of its own. It reads the
process groups of living workers from a pipe, and kills the groups when the pipe closes, which no
end of this process can prevent.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import threading

SHELL = "/bin/sh"

SCRIPT = """
trap '' INT TERM HUP QUIT
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) groups="${groups%% $group *} ${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
"""
"""`+ N` begins to guard the group N and `- N` ends; at the end of the input the rest is killed."""

_lock = threading.Lock()
_guards: dict[int, subprocess.Popen[bytes]] = {}
"""The guard of this process, by process number: a forked child has its own."""


def add(group: int) -> None:
    """Guard a process group from now on."""
    _tell(f"+ {group}\n")


def remove(group: int) -> None:
    """Forget a process group, before its number can belong to others."""
    _tell(f"- {group}\n")


def _tell(line: str) -> None:
    # Without a shell the workers have the kernel's death signal alone.
    with _lock, contextlib.suppress(OSError):
        guard = _guards.get(os.getpid()) or _start()
        assert guard.stdin is not None
        guard.stdin.write(line.encode())
        guard.stdin.flush()


def _start() -> subprocess.Popen[bytes]:
    guard = subprocess.Popen(
        [SHELL, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={},
    )
    _guards[os.getpid()] = guard
    atexit.register(_end, guard)
    return guard


def _end(guard: subprocess.Popen[bytes]) -> None:
    if _guards.get(os.getpid()) is guard and guard.stdin is not None:
        with contextlib.suppress(OSError):
            guard.stdin.close()
        guard.wait()
