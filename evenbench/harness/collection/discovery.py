"""Discovery of declarations: module-level `Case` values in `bench_*.py` files, without importing a
runtime.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from evenbench import aliases
from evenbench.harness.collection import calibration_flags, matrix
from evenbench.harness.core import import_strings
from evenbench.harness.core.cases import Case, Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Model

PATTERN = "bench_*.py"


@dataclass(frozen=True)
class Declaration:
    """A case with its file and its module-level name."""

    case: Case
    file: Path
    name: str

    @property
    def id(self) -> str:
        """`benchmarks/bench_x.py::latency`, relative to the working folder if possible."""
        here = Path.cwd()
        shown = self.file.relative_to(here) if self.file.is_relative_to(here) else self.file
        return f"{shown.as_posix()}::{self.name}"


def find(targets: Sequence[str]) -> list[Declaration]:
    """The declarations under files and folders, in file order.

    Raises UsageError for targets without a case, and for a broken file.
    """
    files = [file for target in targets for file in _files(Path(target))]
    declarations = [
        Declaration(case, file, name)
        for file in files
        for name, case in cases_of(import_file(file)).items()
    ]
    if not declarations:
        sources = [file for file in files if not is_declaration_file(file)]
        network = f", or {sources[0].name}:build for a function with a model" if sources else ""
        raise UsageError(
            f"no Case in {', '.join(targets)}; expected a module-level `name = Case(...)` in a "
            f"file named {PATTERN}{network}"
        )
    return declarations


def _files(target: Path) -> list[Path]:
    if target.is_file():
        return [target.resolve()]
    if not target.is_dir():
        raise UsageError(f"{target}: no such file or folder; name a folder with {PATTERN} files")
    return sorted(path.resolve() for path in target.rglob(PATTERN))


def line_of(file: Path, name: str) -> int | None:
    """The line of a file's last assignment to a module-level name; None without an assignment."""
    try:
        statements = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError):
        return None
    line = None
    for statement in statements:
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [getattr(statement, "target", None)]
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            line = statement.lineno
    return line


def is_declaration_file(path: Path) -> bool:
    """Whether a file has the name of a declaration file."""
    return fnmatch.fnmatch(path.name, PATTERN)


def cases_of(module: ModuleType) -> dict[str, Case]:
    """The public module-level cases of a module, by name, in order.

    A relative `file=` of a model is resolved against the module's folder.
    """
    folder = Path(getattr(module, "__file__", None) or ".").resolve().parent
    return {
        name: beside(folder, value)
        for name, value in vars(module).items()
        if isinstance(value, Case) and not name.startswith("_")
    }


def beside(folder: Path, case: Case) -> Case:
    """The case with every relative `file=` of its models resolved against the declaration's
    `folder`, not against the working folder.

    A late name such as `file.py:function` is resolved there unless the working folder has the file.
    """
    models = tuple(_beside(folder, model) for model in case.models)
    return case if models == case.models else replace(case, models=models)


def _beside(folder: Path, model: Model) -> Model:
    changed: dict[str, Any] = {name: _late_beside(folder, getattr(model, name)) for name in LATE}
    return replace(
        model,
        **changed,
        weights=replace(model.weights, train=_late_beside(folder, model.weights.train)),
        file=str(folder / model.file) if model.file else "",
        sizes=tuple(_beside(folder, size) for size in model.sizes),
    )


LATE = ("build", "inputs_from", "evaluation", "calibration_from")
"""The fields of a model with a late name."""


def _late_beside(folder: Path, name: str) -> str:
    """A late name with its file as an absolute path, if the file is beside the declaration only."""
    where, _, function = name.rpartition(":")
    path = Path(where)
    if path.suffix not in (".py", *import_strings.ARCHIVES) or path.is_absolute():
        return name
    beside = folder / path
    return name if path.is_file() or not beside.is_file() else f"{beside}:{function}"


def import_file(file: Path) -> ModuleType:
    """Import a declaration file as pytest does. Raises UsageError for a failed import.

    The dotted name starts at the nearest folder above outside any package.
    """
    package, name = file.parent, file.stem
    while (package / "__init__.py").is_file():
        name = f"{package.name}.{name}"
        package = package.parent
    if str(package) not in sys.path:
        sys.path.insert(0, str(package))
    try:
        module = importlib.import_module(name)
        # Equally named files in two plain folders are different modules, but share a key of
        # sys.modules.
        same = Path(getattr(module, "__file__", None) or "").resolve() == file.resolve()
        return module if same else import_strings.module_from_file(file)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
    except Exception as error:
        missing = error.name if isinstance(error, ImportError) else None
        advice = aliases.advice(missing or "") or "a declaration file imports `evenbench` only"
        problem = f"{type(error).__name__}: {error}"
        raise UsageError(f"{file} cannot be imported: {problem}; {advice}") from error


def entries(declarations: Sequence[Declaration], command: str) -> list[Entry]:
    """The entries of all cells, without repeats: a cell of two cases belongs to the first case."""
    entries: dict[str, Entry] = {}
    for declaration in declarations:
        try:
            cells = matrix.expand(declaration.case)
        except UsageError as error:
            raise UsageError(f"{declaration.id}: {error}") from error
        case = declaration.id
        for cell in cells:
            entries.setdefault(cell.key, Entry(cell, case, command))
    check_names(entries.values())
    return list(entries.values())


def check_names(entries: Iterable[Entry]) -> None:
    """Raise UsageError for different models of equal name, because reports compare cells by model
    name.
    """
    models: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        other = models.setdefault((entry.cell.model.name, entry.cell.shape), entry)
        same = other.cell.model.fingerprint == entry.cell.model.fingerprint
        if not same and calibration_flags.without(other.cell.model) != calibration_flags.without(
            entry.cell.model
        ):
            raise UsageError(
                f"two different models are named {entry.cell.model.name!r}, in {other.case} and "
                f"{entry.case}; rename one"
            )
