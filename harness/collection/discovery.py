"""Finds declarations: every module-level `Case` in the `bench_*.py` files under a folder, importing
no runtime.
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

from harness.collection import matrix
from harness.core import import_strings
from harness.core.cases import Case, Entry
from harness.core.errors import UsageError
from harness.core.types import Model

PATTERN = "bench_*.py"


@dataclass(frozen=True)
class Declaration:
    """A case, with the file and the name it is assigned to."""

    case: Case
    file: Path
    name: str

    @property
    def id(self) -> str:
        """`benchmarks/bench_classification.py::latency`, relative to the working folder where it
        lies below it.
        """
        here = Path.cwd()
        shown = self.file.relative_to(here) if self.file.is_relative_to(here) else self.file
        return f"{shown.as_posix()}::{self.name}"


def find(targets: Sequence[str]) -> list[Declaration]:
    """The declarations under files and folders, in file order. Raises UsageError where there are
    none or one is broken.
    """
    files = [file for target in targets for file in _files(Path(target))]
    found = [
        Declaration(case, file, name)
        for file in files
        for name, case in cases_of(import_file(file)).items()
    ]
    if not found:
        raise UsageError(
            f"no Case in {', '.join(targets)}; expected a module-level `name = Case(...)` in a file named {PATTERN}"
        )
    return found


def _files(target: Path) -> list[Path]:
    if target.is_file():
        return [target.resolve()]
    if not target.is_dir():
        raise UsageError(f"{target}: no such file or folder; name a folder with {PATTERN} files")
    return sorted(path.resolve() for path in target.rglob(PATTERN))


def line_of(file: Path, name: str) -> int | None:
    """The line on which a file assigns a module-level name, the last one that does; None where it
    is imported or made otherwise.
    """
    try:
        statements = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError):
        return None
    found = None
    for statement in statements:
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [getattr(statement, "target", None)]
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            found = statement.lineno
    return found


def is_declaration_file(path: Path) -> bool:
    """Whether a file is collected by its name."""
    return fnmatch.fnmatch(path.name, PATTERN)


def cases_of(module: ModuleType) -> dict[str, Case]:
    """The module-level cases that a module defines, by name, in order; a model's relative `file=`
    is beside that module's own file.
    """
    folder = Path(getattr(module, "__file__", None) or ".").resolve().parent
    return {
        name: beside(folder, value)
        for name, value in vars(module).items()
        if isinstance(value, Case) and not name.startswith("_")
    }


def beside(folder: Path, case: Case) -> Case:
    """The case with every relative `file=` of its models below `folder`, that of the declaration:
    not where the command runs.
    """
    if all(not model.file or Path(model.file).is_absolute() for model in case.models):
        return case
    return replace(case, models=tuple(_beside(folder, model) for model in case.models))


def _beside(folder: Path, model: Model) -> Model:
    file = str(folder / model.file) if model.file else ""
    return replace(model, file=file, sizes=tuple(_beside(folder, each) for each in model.sizes))


def import_file(file: Path) -> ModuleType:
    """Import a declaration file as pytest would: by its dotted name from the first folder above
    that is no package.
    """
    package, name = file.parent, file.stem
    while (package / "__init__.py").is_file():
        name = f"{package.name}.{name}"
        package = package.parent
    if str(package) not in sys.path:
        sys.path.insert(0, str(package))
    try:
        module = importlib.import_module(name)
        # Two files of one name in two folders that are no packages: the second is another module,
        # whatever sys.modules says.
        same = Path(getattr(module, "__file__", None) or "").resolve() == file.resolve()
        return module if same else import_strings.module_from_file(file)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        hidden = (
            import_strings.namesake(getattr(error, "name", None) or "")
            if isinstance(error, ImportError)
            else ""
        )
        if hidden:
            raise UsageError(f"{file} cannot be imported: {what}; {hidden}") from error
        raise UsageError(
            f"{file} cannot be imported: {what}; a declaration file imports `harness` only"
        ) from error


def entries(declarations: Sequence[Declaration], command: str) -> list[Entry]:
    """One entry per different cell; a cell that two cases declare belongs to the first."""
    found: dict[str, Entry] = {}
    for declaration in declarations:
        try:
            cells = matrix.expand(declaration.case)
        except UsageError as error:
            raise UsageError(f"{declaration.id}: {error}") from error
        case = declaration.id
        for cell in cells:
            found.setdefault(cell.key, Entry(cell, case, command))
    check_names(found.values())
    return list(found.values())


def check_names(found: Iterable[Entry]) -> None:
    """Raise UsageError where two different models have one name: their cells would be compared with
    each other.
    """
    models: dict[str, Entry] = {}
    for entry in found:
        other = models.setdefault(entry.cell.model.name, entry)
        if other.cell.model.fingerprint != entry.cell.model.fingerprint:
            raise UsageError(
                f"two different models are named {entry.cell.model.name!r}, in {other.case} and {entry.case}; rename one"
            )
