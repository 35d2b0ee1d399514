"""The source files that decide what a model computes, so that a change of code is a miss like a
change of a weight.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.core.paths import PROJECT
from harness.core.types import digest

OWN = tuple(str(PROJECT / package) for package in ("harness", "backends", "reports"))
"""evenbench's own packages: what they leave in the store is versioned by `store.LAYOUT` and the
backends' keys.
"""


def read(paths: Iterable[str | Path]) -> dict[str, str]:
    """sha256 of each file's bytes, by absolute path; what is no readable file is left out."""
    found = {}
    for path in {Path(path).resolve() for path in paths if path}:
        if path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def loaded() -> list[str]:
    """The files of the user's own modules in this process: neither the interpreter's, nor an
    installed package's, nor ours.
    """
    installed = tuple(str(Path(prefix).resolve()) for prefix in {sys.prefix, sys.base_prefix}) + OWN
    files = {
        str(Path(file).resolve())
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None))
    }
    return sorted(file for file in files if file.endswith(".py") and not file.startswith(installed))


def of_types(types: Iterable[type]) -> list[str]:
    """The files that define some classes, wherever they lie; and those of another language that a
    class names in `native_sources`.
    """
    known = list(types)
    modules = {sys.modules.get(kind.__module__) for kind in known}
    beside = {str(file) for kind in known for file in vars(kind).get("native_sources", ())}
    return sorted(
        beside | {str(file) for module in modules if (file := getattr(module, "__file__", None))}
    )


def unchanged(files: Mapping[str, str]) -> bool:
    """Whether every file still has the sha256 that was read."""
    return read(files) == dict(files)


def digest_of(files: Mapping[str, str]) -> str:
    """One sha256 over the contents; the folders they lie in do not matter."""
    return digest(sorted(files.values()))
