"""Late names, imported on use: `package.module:function` or `file.py:function`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from evenbench import aliases
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.paths import PROJECT

ARCHIVES = (".pt", ".pt2")
"""Suffixes of model files without Python source, read by backends, as in `file.pt2:model`."""


def name_of(target: Callable[..., Any] | str) -> str:
    """The late name of a module-level callable. Strings are returned unchanged.

    The name has the module if the module can be imported by name, else the path of the file: for
    files collected by pytest's importlib mode, and for scripts.
    """
    if isinstance(target, str):
        return target
    module, qualname = (
        getattr(target, "__module__", ""),
        getattr(target, "__qualname__", f"<{type(target).__name__}>"),
    )
    if "<" in qualname or "." in qualname:
        raise ValueError(
            f"{module}.{qualname}: only a module-level function can run in another process"
        )
    file = getattr(sys.modules.get(module), "__file__", None)
    if file and not _importable_as(module, file):
        return f"{Path(file).resolve()}:{qualname}"
    return f"{module}:{qualname}"


def _importable_as(module: str, file: str) -> bool:
    """Whether `import module` finds this file, in a process with this sys.path."""
    relative = Path(*module.split("."))
    for entry in sys.path:
        for candidate in (relative.with_suffix(".py"), relative / "__init__.py"):
            source = Path(entry or ".") / candidate
            if source.is_file():
                return source.resolve() == Path(file).resolve()
    return False


def resolve(name: str) -> Any:
    """Import and return the object named `name`. Raises ValueError with the expected form."""
    where, _, attribute = name.rpartition(":")
    if not where or not attribute:
        raise ValueError(
            f"{name!r} is not a late name; expected package.module:function or "
            "path/file.py:function"
        )
    try:
        module = module_from_file(Path(where)) if where.endswith(".py") else module_named(where)
    except ModuleNotFoundError as error:
        if error.name and not f"{where}.".startswith(f"{error.name}."):
            raise
        why = aliases.advice(where) or "check the name, or run from the folder that holds it"
        raise ValueError(f"{name!r}: no module {where!r} on sys.path; {why}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ValueError(
            f"{name!r}: module {where} has no {attribute!r}; define it at the top level of the "
            "module"
        ) from None


def module_named(name: str) -> ModuleType:
    """Import a module; `harness.inputs` is evenbench's unless the project has such a module."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        absent = f"{name}.".startswith(f"{error.name}.")
        if not absent or name.partition(".")[0] not in aliases.NAMES:
            raise
        try:
            return importlib.import_module(f"evenbench.{name}")
        except ModuleNotFoundError:
            raise error from None


def module_from_file(path: Path) -> Any:
    """Import a Python file by its path, once per process. Raises ValueError for an absent file."""
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; give the path of the Python file with the function"
        )
    name = f"evenbench_late_{path.stem}_{abs(hash(str(path.resolve()))):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # the next import must not get a partial module
        raise
    return module


def portable(name: str) -> str:
    """`name` with its file relative to the working folder, or without folder for files elsewhere.

    Used in identities, so results are equal on two machines, and differ for two files of one name.
    evenbench's own modules have their short names.
    """
    if "/" not in name and "\\" not in name:
        return name.removeprefix("evenbench.")
    path = Path(name)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def source_sha256(name: str) -> str:
    """The sha256 of the file behind a late name; empty for an empty name or an unknown file.

    Raises UsageError for a named file that is absent or unreadable.
    """
    file = source_of(name) if name else ""
    if not file:
        return ""
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(
            f"{name}: {file} cannot be read ({error.strerror}); give a path beside the "
            f"declaration, or from {Path.cwd()}"
        ) from error


def source_of(name: str) -> str:
    """The file behind a late name; empty if only an import could find the file."""
    where = name.rpartition(":")[0]
    if where.endswith((".py", *ARCHIVES)):
        return where
    relative = Path(*where.split("."))
    for entry in (*sys.path, str(PROJECT), str(PROJECT / "evenbench")):
        for candidate in (relative.with_suffix(".py"), relative / "__init__.py"):
            source = Path(entry or ".") / candidate
            if source.is_file():
                return str(source)
    return ""
