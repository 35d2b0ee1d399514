"""What every child process needs: the parent's import path, and an end when the parent ends."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

from harness.core.paths import PROJECT


def shared_path() -> tuple[str, ...]:
    """The entries of sys.path that hold the user's own code; an interpreter's own folders are left
    to it.
    """
    own = (sys.prefix, sys.base_prefix)
    named = [os.path.abspath(entry or ".") for entry in sys.path]
    return tuple(
        entry for entry in named if not any(Path(entry).is_relative_to(prefix) for prefix in own)
    )


def share_path(shared: tuple[str, ...]) -> None:
    """Find the user's own code where the parent finds it.

    The folder of `harness` was needed to start. In a checkout it also holds a `benchmarks` package,
    which would hide the user's; of another interpreter it is the site-packages. What is needed of
    it is imported now, and it is left out.
    """
    importlib.import_module("backends")
    here = str(PROJECT)
    own = here.startswith((sys.prefix, sys.base_prefix))
    sys.path[:] = [entry for entry in sys.path if entry != here or own or here in shared]
    sys.path.extend(entry for entry in shared if entry not in sys.path)


def die_with_parent() -> None:
    """On Linux, end when the process that started this one is killed, so that nothing of it runs
    beside what comes next.
    """
    if sys.platform == "linux":
        import ctypes

        set_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
