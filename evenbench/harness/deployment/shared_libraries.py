"""The shared libraries of a program, found by reading ELF files under the loader's rules, without
running the program.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from evenbench.harness.core.backend import Backend
from evenbench.harness.core.errors import Unavailable

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
"""Sonames of the C library and its loader, present in every Linux image and never shipped."""


@dataclass(frozen=True)
class File:
    """A required file."""

    name: str
    path: Path
    bytes: int


@dataclass(frozen=True)
class Program:
    """A program with its shared libraries, without the C library.

    `missing` are sonames of absent libraries; `reason` explains an empty program.
    """

    files: tuple[File, ...] = ()
    missing: tuple[str, ...] = ()
    reason: str = ""

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files)


def of(backend: Backend) -> Program | None:
    """The backend's program with its libraries; None for a backend in Python, and an empty program
    with a reason if the files are unknown.
    """
    try:
        roots = backend.binaries()
    except Unavailable as error:
        return Program(reason=str(error))
    return closure_or_reason(roots) if roots else None


def closure_or_reason(roots: Iterable[Path]) -> Program:
    """`closure`, or an empty program with a reason if ELF files cannot be read."""
    try:
        return closure(roots)
    except Unavailable as error:
        return Program(reason=str(error))


def closure(roots: Iterable[Path]) -> Program:
    """`roots` and their linked libraries, every file once. Raises Unavailable without auditwheel.

    auditwheel follows the loader's rules: RPATH, RUNPATH, LD_LIBRARY_PATH, ld.so.conf.
    """
    try:
        from auditwheel.lddtree import ldd
    except ModuleNotFoundError:
        raise Unavailable(
            "auditwheel, which reads ELF files, is not installed; pip install 'evenbench[cpp]'"
        ) from None
    names: dict[Path, str] = {}
    missing: dict[str, None] = {}
    for root in roots:
        names.setdefault(root.resolve(), root.name)
        for library in ldd(root.resolve(), exclude=frozenset(C_LIBRARY)).libraries.values():
            if library.realpath is None:
                missing[library.soname] = None
            # `exclude` has no effect on the interpreter of a program.
            elif not _of_the_c_library(library.soname):
                names.setdefault(library.realpath.resolve(), library.soname)
    files = tuple(File(name, path, path.stat().st_size) for path, name in names.items())
    return Program(files, tuple(missing))


def _of_the_c_library(soname: str) -> bool:
    return any(fnmatch(soname, pattern) for pattern in C_LIBRARY)
