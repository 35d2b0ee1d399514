"""The import path of the user's code, and the places of modules on this path, without an import."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from evenbench.harness.core import artifact_store
from evenbench.harness.core.paths import PROJECT

OURS = (PROJECT / "evenbench", PROJECT / "aliases")
"""evenbench's own code. Its output is versioned by the store's layout and backends' keys."""

SITE = ("site-packages", "dist-packages")

INTERPRETERS = ("bin", "include", "lib", "lib64", "share")
"""Folders of an interpreter below its prefix."""


def shared_path() -> tuple[str, ...]:
    """The entries of sys.path with the user's own code, without the interpreter's own folders.

    A checkout within a virtual environment, as airspeed velocity keeps one for each, is the user's.
    """
    entries = [os.path.abspath(entry or ".") for entry in sys.path]
    own = (Path(sys.prefix), Path(sys.base_prefix))
    return tuple(
        entry for entry in entries if not any(_is_of(Path(entry), prefix) for prefix in own)
    )


def _is_of(path: Path, prefix: Path) -> bool:
    """Whether a path belongs to the interpreter at `prefix`: programs, libraries, packages."""
    if not path.is_relative_to(prefix):
        return False
    parts = path.relative_to(prefix).parts
    first = parts[1:2] if parts[:1] == ("local",) else parts[:1]
    return not first or first[0] in INTERPRETERS or not set(SITE).isdisjoint(parts)


def is_installed(file: Path) -> bool:
    """Whether a file belongs to the interpreter, a virtual environment or an installed package."""
    if sys.prefix != sys.base_prefix and _is_of(file, Path(sys.prefix)):
        return True
    return not set(file.parts).isdisjoint(SITE) or _within(file, _interpreters_places())


@cache
def _interpreters_places() -> list[Path]:
    """The folders of the interpreter's own modules.

    Kept, because `sysconfig` takes a millisecond, and a build asks for every imported module.
    """
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    return [Path(place) for place in places]


def is_ours(file: Path) -> bool:
    """Whether a file is evenbench's: a module, an entry of the store, or a temporary file."""
    scratch = Path(tempfile.gettempdir()).resolve()
    temporary = scratch.name.startswith("evenbench-process-") and file.is_relative_to(scratch)
    return temporary or _within(file, [*OURS, artifact_store.root()])


def _within(file: Path, folders: Sequence[Path]) -> bool:
    return any(file.is_relative_to(folder) for folder in folders)


def users_path(first: Sequence[Path] = ()) -> list[Path]:
    """The folders of the user's code in the order of a worker's import path, after `first`.

    `python -m` puts the working folder first, unless the shared path has a place for it.
    """
    shared = [Path(entry) for entry in shared_path()]
    here = Path.cwd()
    return list(dict.fromkeys([*first, *([] if here in shared else [here]), *shared]))


def project() -> Path:
    """The folder of the user's project: at or above the working folder, with `.git` or
    `pyproject.toml`; otherwise the working folder.
    """
    here = Path.cwd()
    marked = (
        folder
        for folder in (here, *here.parents)
        if (folder / ".git").exists() or (folder / "pyproject.toml").is_file()
    )
    return next(marked, here)


def origins() -> dict[str, str]:
    """The files of the user's modules in this process, by module.

    Files are relative to the project, or absolute outside the project.
    """
    top = project().resolve()
    files = {}
    for name, module in sorted(sys.modules.items()):
        plain = getattr(module, "__file__", None)
        if plain and name != "__main__":
            file = Path(plain).resolve()
            if not is_ours(file) and not is_installed(file):
                inside = file.is_relative_to(top)
                files[name] = (file.relative_to(top) if inside else file).as_posix()
    return files


def locate(module: str, first: Sequence[Path] = (), *, everywhere: bool = True) -> Path | None:
    """The file that `import module` would read in a worker; None without a file. Imports nothing.

    `first` are folders ahead of the path. `everywhere` includes installed packages.
    """
    top, *rest = module.split(".")
    name, spec = top, PathFinder.find_spec(top, [str(folder) for folder in users_path(first)])
    if (spec is None or spec.origin is None) and everywhere:
        spec = _anywhere(top) or spec
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return Path(spec.origin).resolve() if spec and spec.origin and spec.has_location else None


def _anywhere(top: str) -> ModuleSpec | None:
    """The specification of a top-level module by any finder, as of editable installations."""
    for finder in sys.meta_path:
        spec = finder.find_spec(top, None)
        if spec is not None:
            return spec
    return None
