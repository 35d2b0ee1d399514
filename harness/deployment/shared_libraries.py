"""The shared libraries that a program needs, found by reading its ELF files, as the loader would
look for them. Nothing is run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from harness.core.backend import Backend
from harness.core.errors import Unavailable

C_LIBRARY = (
    *(
        "linux-vdso.*",
        "ld-linux*",
        "ld-musl*",
        "libc.so*",
        "libc.musl*",
        "libm.so*",
        "libmvec.so*",
        "libpthread.so*",
        "libdl.so*",
    ),
    *("librt.so*", "libutil.so*", "libresolv.so*", "libanl.so*"),
)
"""Sonames of the C library and its loader: every Linux image has its own, and nobody ships them."""


@dataclass(frozen=True)
class File:
    """One file that has to be there."""

    name: str
    path: Path
    bytes: int


@dataclass(frozen=True)
class Program:
    """A program and all that it loads, without the C library.

    `missing` are sonames that were found nowhere; `reason` says in words why the rest is empty.
    """

    files: tuple[File, ...] = ()
    missing: tuple[str, ...] = ()
    reason: str = ""

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.bytes for file in self.files)


def of(backend: Backend) -> Program | None:
    """What the backend's program needs; None for a backend that is none, and a reason in words
    where it cannot be told.
    """
    try:
        roots = backend.binaries()
    except Unavailable as error:
        return Program(reason=str(error))
    return told(roots) if roots else None


def told(roots: Iterable[Path]) -> Program:
    """As `closure`, with the reason in words where it cannot be told."""
    try:
        return closure(roots)
    except Unavailable as error:
        return Program(reason=str(error))


def closure(roots: Iterable[Path]) -> Program:
    """`roots` and what they are linked against, each file once. Raises Unavailable where nothing
    reads ELF files here.

    The reader is auditwheel's, which follows the loader's rules: RPATH, RUNPATH, LD_LIBRARY_PATH,
    ld.so.conf.
    """
    try:
        from auditwheel.lddtree import ldd
    except ModuleNotFoundError:
        raise Unavailable(
            "auditwheel, which reads ELF files, is not installed; pip install 'evenbench[cpp]'"
        ) from None
    found: dict[Path, str] = {}
    missing: dict[str, None] = {}
    for root in roots:
        found.setdefault(root.resolve(), root.name)
        for library in ldd(root.resolve(), exclude=frozenset(C_LIBRARY)).libraries.values():
            if library.realpath is None:
                missing[library.soname] = None
            elif not _of_the_c_library(
                library.soname
            ):  # the interpreter of a program is listed whatever is excluded
                found.setdefault(library.realpath.resolve(), library.soname)
    files = tuple(File(name, path, path.stat().st_size) for path, name in found.items())
    return Program(files, tuple(missing))


def _of_the_c_library(soname: str) -> bool:
    return any(fnmatch(soname, pattern) for pattern in C_LIBRARY)
