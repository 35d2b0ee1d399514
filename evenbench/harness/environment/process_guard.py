"""A guard that ends worker processes, and all their descendants, when this process is killed.

The kernel ends a worker with its parent (PR_SET_PDEATHSIG), but not what the worker has started:
compilers, linkers and tuners. The guard is a small shell in a session of its own. It reads the
families of living workers from a pipe, and kills the families when the pipe closes, which no end
of this process can prevent.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading

from evenbench.harness.environment import process_family

SHELL = "/bin/sh"

SCRIPT = """
trap '' INT TERM HUP QUIT
families=' '
while read -r sign family; do
  case $sign in
    +) families="$families$family " ;;
    -) families="${families%% $family *} ${families#* $family }" ;;
  esac
done
for family in $families; do kill -s KILL -- "-${family%%:*}" 2>/dev/null; done
[ "$families" = ' ' ] || exec "$@" $families
"""
"""`+ N:MARK` begins to guard the family of process N and `- N:MARK` ends; at the end of the input
the rest is killed: the groups at once, then all members by the script in the arguments.
"""

_lock = threading.Lock()
_guards: dict[int, subprocess.Popen[bytes]] = {}
"""The guard of this process, by process number: a forked child has its own."""


def add(session: int, mark: str) -> None:
    """Guard a leader of a session and all descendants from now on."""
    _tell(f"+ {session}:{mark}\n")


def remove(session: int, mark: str) -> None:
    """Forget a process before another gets the number."""
    _tell(f"- {session}:{mark}\n")


def _tell(line: str) -> None:
    # Without a shell the workers have the kernel's death signal alone.
    with _lock, contextlib.suppress(OSError):
        guard = _guards.get(os.getpid()) or _start()
        assert guard.stdin is not None
        guard.stdin.write(line.encode())
        guard.stdin.flush()


def _start() -> subprocess.Popen[bytes]:
    guard = subprocess.Popen(
        [SHELL, "-c", SCRIPT, "guard", sys.executable, "-I", "-S", process_family.__file__],
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
