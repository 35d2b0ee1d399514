"""Names for things that are imported only by the process that uses them: `package.module:function`
or `file.py:function`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.core.paths import PROJECT

ARCHIVES = (".pt", ".pt2")
"""The endings of files that hold a model and no source: `file.pt2:model` is a late name that the
backends read.
"""


def name_of(target: Callable[..., Any] | str) -> str:
    """The late name of a module-level callable. Strings are taken as they are.

    A callable whose module can be imported by name is called by it; any other (a file collected by
    pytest's importlib mode, a script) by the path of its file.
    """
    if isinstance(target, str):
        return target
    module, qualname = (
        getattr(target, "__module__", ""),
        getattr(target, "__qualname__", f"<{type(target).__name__}>"),
    )
    if "<" in qualname or "." in qualname:
        raise ValueError(
            f"{module}.{qualname}: only a function at the top level of a module can be run in another process"
        )
    file = getattr(sys.modules.get(module), "__file__", None)
    if file and not _importable_as(module, file):
        return f"{Path(file).resolve()}:{qualname}"
    return f"{module}:{qualname}"


def _importable_as(module: str, file: str) -> bool:
    """Whether `import module` in a process with this sys.path finds this very file."""
    relative = Path(*module.split("."))
    for entry in sys.path:
        for candidate in (relative.with_suffix(".py"), relative / "__init__.py"):
            found = Path(entry or ".") / candidate
            if found.is_file():
                return found.resolve() == Path(file).resolve()
    return False


def resolve(name: str) -> Any:
    """Import and return what `name` names. Raises ValueError with what is wrong and what was
    expected.
    """
    where, _, attribute = name.rpartition(":")
    if not where or not attribute:
        raise ValueError(
            f"{name!r} is not a late name; expected package.module:function or path/file.py:function"
        )
    try:
        module = (
            module_from_file(Path(where))
            if where.endswith(".py")
            else importlib.import_module(where)
        )
    except ModuleNotFoundError as error:
        if error.name and not f"{where}.".startswith(f"{error.name}."):
            raise
        why = namesake(where) or "check the name, or run from the folder that holds it"
        raise ValueError(f"{name!r}: no module {where!r} on sys.path; {why}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ValueError(
            f"{name!r}: module {where} has no {attribute!r}; define it at the top level of the module"
        ) from None


def module_from_file(path: Path) -> Any:
    """Import a Python file by its path, once per process. Raises ValueError where there is no such
    file.
    """
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; give the path of a Python file that defines the function"
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
        del sys.modules[name]  # half a module must not be found the next time
        raise
    return module


OURS = ("backends", "harness", "reports")
"""The top-level packages of this distribution, which a user's own cannot be called as well."""


def namesake(module: str) -> str:
    """In words, where `module` lies in a user's package of the same name as one of ours, which
    Python never finds; or nothing.
    """
    top = module.partition(".")[0]
    if top not in OURS:
        return ""
    ours = PROJECT / top
    for entry in sys.path:
        found = Path(entry or ".").resolve() / top
        if found != ours and (found.is_dir() or found.with_suffix(".py").is_file()):
            return f"{found} has the name of a package of evenbench, which is found instead; rename that folder, to {top}_mine for instance"
    return ""


def portable(name: str) -> str:
    """`name` with the path of its file relative to the working folder, or without its folder where
    it lies elsewhere.

    For identities that must be equal on two machines, and different for two files of one name.
    """
    if "/" not in name and "\\" not in name:
        return name
    path = Path(name)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def source_of(name: str) -> str:
    """The path of the file that defines or holds a late name, or an empty string where it cannot be
    told without importing it.
    """
    where = name.rpartition(":")[0]
    if where.endswith((".py", *ARCHIVES)):
        return where
    relative = Path(*where.split("."))
    for entry in sys.path:
        for candidate in (relative.with_suffix(".py"), relative / "__init__.py"):
            found = Path(entry or ".") / candidate
            if found.is_file():
                return str(found)
    return ""
