"""Records the files read by this process in some folders, from `start` to `stop`."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from evenbench.harness.core.file_reads import kernel

MOST_FOLDERS = 10_000
MOST_ENTRIES = 200_000
"""Folders further down are not watched: breadth first, in alphabetical order."""

BYTES = 1 << 20
"""Of one read of events. The kernel keeps 16,384 events until a read."""


class Recorder:
    """One recording in a separate thread, since the kernel keeps a limited number of events."""

    def __init__(self, watch: kernel.Watch) -> None:
        self._watch = watch
        self._files: set[Path] = set()
        self._end, self._end_write = os.pipe()
        self._thread = threading.Thread(target=self._follow, name="file reads", daemon=True)

    @classmethod
    def start(cls, roots: Iterable[Path], leave_out: Callable[[Path], bool]) -> Recorder | None:
        """Record reads in and below `roots`; None without watches in the kernel.

        Folders are left out with everything below.
        """
        watch = kernel.watch()
        if watch is None:
            return None
        recorder = cls(watch)
        for folder in folders(roots, leave_out):
            with contextlib.suppress(OSError):  # removed since, not ours to read, or one too many
                watch.add(folder)
        recorder._thread.start()
        return recorder

    def stop(self) -> tuple[set[Path], bool]:
        """The files read, open files included; and whether further files are unknown."""
        os.write(self._end_write, b".")
        self._thread.join()
        self._read()
        for descriptor in (self._end, self._end_write, self._watch.descriptor):
            os.close(descriptor)
        lost = kernel.LOST in self._files
        return (self._files - {kernel.LOST}) | set(still_open()), lost

    def _follow(self) -> None:
        ready = select.poll()
        for descriptor in (self._watch.descriptor, self._end):
            ready.register(descriptor, select.POLLIN)
        while self._end not in (descriptor for descriptor, _ in ready.poll()):
            self._read()

    def _read(self) -> None:
        """Take all waiting events."""
        with contextlib.suppress(BlockingIOError):
            while events := os.read(self._watch.descriptor, BYTES):
                self._files.update(self._watch.files(events))


def folders(roots: Iterable[Path], leave_out: Callable[[Path], bool]) -> Iterator[Path]:
    """The folders at and below `roots` up to the limits, without links."""
    waiting = deque(dict.fromkeys(root.resolve() for root in roots))
    known: set[Path] = set()
    entries = 0
    while waiting and len(known) < MOST_FOLDERS and entries < MOST_ENTRIES:
        folder = waiting.popleft()
        if folder in known or leave_out(folder):
            continue
        try:
            with os.scandir(folder) as entries_here:
                inside = list(entries_here)
        except OSError:
            continue
        known.add(folder)
        entries += len(inside)
        yield folder
        inner = (entry.path for entry in inside if entry.is_dir(follow_symlinks=False))
        waiting.extend(Path(path) for path in sorted(inner))


def still_open() -> Iterator[Path]:
    """Regular files open for reading only in this process."""
    for link in _listed(Path("/proc/self/fd")):
        with contextlib.suppress(OSError, ValueError):
            number = int(link.name)
            if stat.S_ISREG(os.fstat(number).st_mode) and _is_for_reading(number):
                yield Path(os.readlink(link))


def _is_for_reading(number: int) -> bool:
    import fcntl

    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
