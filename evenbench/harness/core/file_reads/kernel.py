"""Watches of folders by the Linux kernel: fanotify, and inotify if fanotify is forbidden.

A watch reports a file open for reading only, at its close. fanotify reports this process alone.
Events without privileges need Linux 5.13, and containers may forbid fanotify; inotify works
everywhere, but reports the files of other processes as well.

Formats of events: fanotify(7), inotify(7).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Protocol

CLOSE_NOWRITE = 0x10
OVERFLOW = 0x4000
"""The same numbers in both interfaces. `OVERFLOW`: events were lost."""

LOST = Path()
"""Stands among the files where events were lost."""


class Watch(Protocol):
    """Folders under watch; `descriptor` becomes readable with the first event."""

    descriptor: int

    def add(self, folder: Path) -> None:
        """Watch the files directly in `folder`. Raises OSError."""

    def files(self, events: bytes) -> Iterator[Path]:
        """The closed files of one read from `descriptor`; `LOST` for an overflow."""


class Fanotify:
    """Reports the files of this process."""

    CLASS = 0x1 | 0x2 | 0xC00
    """FAN_CLOEXEC, FAN_NONBLOCK, FAN_REPORT_DFID_NAME: folder and name, as without privileges."""
    ON_CHILD = 0x08000000
    MARK_ADD = 0x1
    HANDLE_BYTES = 128
    EVENT = struct.Struct("=IBBHQii")
    HEADER = struct.Struct("=BBH8sIi")
    """The information behind an event: kind, pad, length, file system, size and kind of handle."""

    def __init__(self) -> None:
        self.descriptor = _checked("fanotify_init", self.CLASS, os.O_RDONLY | os.O_CLOEXEC)
        self._folders: dict[tuple[int, bytes], Path] = {}

    def add(self, folder: Path) -> None:
        """Watch the files directly in `folder`. Raises OSError."""
        mask = ctypes.c_uint64(CLOSE_NOWRITE | self.ON_CHILD)
        place = os.fsencode(folder)
        _checked("fanotify_mark", self.descriptor, self.MARK_ADD, mask, -100, place)
        self._folders[self._handle(place)] = folder

    def _handle(self, place: bytes) -> tuple[int, bytes]:
        """The kernel's name of a folder in events: kind and bytes of the file handle."""
        buffer = ctypes.create_string_buffer(struct.pack("=Ii", self.HANDLE_BYTES, 0), 8 + 128)
        mount = ctypes.c_int()
        _checked("name_to_handle_at", -100, place, buffer, ctypes.byref(mount), 0)
        length, kind = struct.unpack_from("=Ii", buffer.raw)
        return kind, buffer.raw[8 : 8 + length]

    def files(self, events: bytes) -> Iterator[Path]:
        """The files closed by this process; `LOST` for an overflow."""
        at = 0
        while at < len(events):
            length, _, _, header, mask, _, process = self.EVENT.unpack_from(events, at)
            if mask & OVERFLOW:
                yield LOST
            elif process == os.getpid():
                yield from self._named(events[at + header : at + length])
            at += length

    def _named(self, information: bytes) -> Iterator[Path]:
        *_, length, kind = self.HEADER.unpack_from(information)
        end = self.HEADER.size + length
        folder = self._folders.get((kind, information[self.HEADER.size : end]))
        if folder:
            yield folder / os.fsdecode(information[end:].split(b"\0", 1)[0])


class Inotify:
    """Reports the files of every process."""

    EVENT = struct.Struct("=iIII")
    FOLDER = 0x40000000

    def __init__(self) -> None:
        self.descriptor = _checked("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._folders: dict[int, Path] = {}

    def add(self, folder: Path) -> None:
        """Watch the files directly in `folder`. Raises OSError."""
        number = _checked(
            "inotify_add_watch", self.descriptor, os.fsencode(folder), ctypes.c_uint(CLOSE_NOWRITE)
        )
        self._folders[number] = folder

    def files(self, events: bytes) -> Iterator[Path]:
        """The files closed by any process; `LOST` for an overflow."""
        at = 0
        while at < len(events):
            number, mask, _, length = self.EVENT.unpack_from(events, at)
            at += self.EVENT.size
            name = events[at : at + length].rstrip(b"\0")
            at += length
            if mask & OVERFLOW:
                yield LOST
            elif name and not mask & self.FOLDER and number in self._folders:
                yield self._folders[number] / os.fsdecode(name)


KINDS: tuple[Callable[[], Watch], ...] = (Fanotify, Inotify)
"""The more exact first."""


def watch() -> Watch | None:
    """A new watch without folders; None without either interface."""
    for kind in KINDS:
        try:
            return kind()
        except OSError:
            continue
    return None


@cache
def _library() -> Callable[[str], Any]:
    library = ctypes.CDLL(None, use_errno=True)
    return lambda name: getattr(library, name)


def _checked(name: str, *arguments: Any) -> int:
    """The result of a function of the C library. Raises OSError, also without such a function."""
    try:
        function = _library()(name)
    except (AttributeError, OSError):
        raise OSError(f"{name} is no function of the C library") from None
    result = int(function(*arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
