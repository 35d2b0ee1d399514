"""Digests of the source files that define classes. A changed file is a cache miss."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from evenbench.harness.core.types import digest


def read(paths: Iterable[str | Path]) -> dict[str, str]:
    """sha256 of each file's bytes, by absolute path, without unreadable files."""
    digests = {}
    for path in {Path(path).resolve() for path in paths if path}:
        if path.is_file():
            digests[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def of_types(types: Iterable[type]) -> list[str]:
    """The files with the definitions of some classes, and the files in their `native_sources`."""
    known = list(types)
    modules = {sys.modules.get(kind.__module__) for kind in known}
    beside = {str(file) for kind in known for file in vars(kind).get("native_sources", ())}
    return sorted(
        beside | {str(file) for module in modules if (file := getattr(module, "__file__", None))}
    )


def digest_of(files: Mapping[str, str]) -> str:
    """One sha256 over all contents, independent of folders."""
    return digest(sorted(files.values()))
