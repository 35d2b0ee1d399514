"""The user's source files behind declared cells, found without importing any of them.

A resumed run is bound to these files: outcomes of other sources are no outcomes of this run.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from evenbench.harness.core import import_strings, registry, source_digests
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.import_path import is_installed, is_ours
from evenbench.harness.core.types import Model


def digest_of(entries: Iterable[Entry]) -> str:
    """One sha256 over the content of all sources: declaration files, files behind late names,
    model files, backends of the user, and every file of the user's that those files import.
    """
    known = list(entries)
    models = {entry.cell.model for entry in known}
    starts = {
        *(_declaration(entry.case.partition("::")[0]) for entry in known if entry.case),
        *(import_strings.source_of(name) for model in models for name in _late_names(model)),
        *map(_backend, {entry.cell.backend_name for entry in known}),
    }
    files = {model.file for model in models if model.file}
    return source_digests.digest_of(source_digests.read(files | closure(filter(None, starts))))


def closure(files: Iterable[str]) -> set[str]:
    """The files and all of the user's files that they import, anywhere in the source."""
    waiting = [path for file in files if _is_own(path := Path(file).resolve())]
    known: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in known:
            known.add(file)
            waiting += [path for path in _imported(file) if _is_own(path)]
    return {str(file) for file in known}


def _late_names(model: Model) -> Iterator[str]:
    names = (model.build, model.inputs_from, model.evaluation, model.calibration_from)
    yield from (str(name) for name in (*names, model.weights.train) if name)
    for size in model.sizes:
        yield from _late_names(size)


def _declaration(shown: str) -> str:
    """The path of a declaration file: of the imported module, if the working folder has changed."""
    if not shown or Path(shown).is_file():
        return shown
    loaded = (getattr(module, "__file__", None) or "" for module in list(sys.modules.values()))
    return next((file for file in loaded if file.endswith(f"/{shown}")), "")


def _backend(name: str) -> str:
    try:
        return import_strings.source_of(registry.row(name).target)
    except UsageError:
        return ""


def _is_own(path: Path) -> bool:
    """Whether a file is the user's: outside the interpreter, its packages, and evenbench."""
    return path.is_file() and not is_installed(path) and not is_ours(path)


def _imported(file: Path) -> Iterator[Path]:
    """The files of the modules that a file imports; nothing for a file that is no Python."""
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name.split("."), file.parent)
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            for alias in node.names:
                if node.level:
                    yield from _below(file.parents[node.level - 1], [*parts, alias.name])
                else:
                    yield from _files([*parts, alias.name], file.parent)


def _files(parts: list[str], beside: Path) -> Iterator[Path]:
    """The files of an absolute import: beside the importing file, or on the import path."""
    yield from _below(beside, parts)
    for root in _roots(parts[0]):
        yield from _below(root, parts)


@cache
def _roots(top: str) -> tuple[Path, ...]:
    """The folders with the user's top-level module or package of this name. Imports nothing."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return ()
    if spec is None:
        return ()
    places = list(spec.submodule_search_locations or ()) or ([spec.origin] if spec.origin else [])
    return tuple(Path(place).resolve().parent for place in places)


def _below(root: Path, parts: list[str]) -> Iterator[Path]:
    """The modules and packages along a dotted name below a folder."""
    for end in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:end])
        yield path.with_name(f"{path.name}.py")
        yield path / "__init__.py"
