"""Which packages changed between two records, as pairs of environments to compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import UsageError
from harness.results import records

if TYPE_CHECKING:
    from harness.core.types import Cell


@dataclass(frozen=True)
class Move:
    """One backend's upgrade: the distribution that it is named after, both versions, and its cells
    in the declarations.
    """

    backend: str
    package: str
    old: str
    new: str
    cells: tuple[str, ...]

    @property
    def sides(self) -> tuple[str, str]:
        """`ort@1.24.1` and `ort@1.31.1`."""
        return f"{self.backend}@{self.old}", f"{self.backend}@{self.new}"

    @property
    def record(self) -> dict[str, dict[str, str]]:
        """What the comparison says of itself."""
        return {"from": {self.package: self.old}, "to": {self.package: self.new}}


def packages_of(path: Path) -> dict[str, str]:
    """The version of every package that a recorded state names, by distribution in lower case.

    Raises UsageError for what is neither results nor one of asv's result files, or names a package
    in two versions.
    """
    if path.suffix == ".json":
        return {
            name.removeprefix("pip+").lower(): version
            for name, version in _asv_requirements(path).items()
        }
    lines = records.read([path]).lines
    if not lines:
        raise UsageError(
            f"{path}: no outcomes; give results of `evenbench run`, or a file of .asv/results/MACHINE"
        )
    found: dict[str, str] = {}
    for line in lines:
        if "@" in line["cell"]["backend"]:
            continue  # its packages are those of an environment that its name already tells
        for name, version in (line.get("environment") or {}).get("packages", {}).items():
            if found.setdefault(name.lower(), version) != version:
                raise UsageError(
                    f"{path} holds {name} {found[name.lower()]} and {version}; name the file of one run"
                )
    return found


def _asv_requirements(path: Path) -> Mapping[str, str]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}: {error}; give results of `evenbench run`, or a file of .asv/results/MACHINE"
        ) from error
    requirements = value.get("requirements") if isinstance(value, dict) else None
    if not isinstance(requirements, dict) or not requirements:
        raise UsageError(
            f"{path}: no result of asv that says its requirements; give a file of .asv/results/MACHINE"
        )
    return requirements


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The packages that both states have, in different versions; this project's own version is no
    matter of environments.
    """
    shared = sorted({*old} & {*new} - {"evenbench"})
    return {name: (old[name], new[name]) for name in shared if old[name] != new[name]}


def moves(changed: Mapping[str, tuple[str, str]], cells: Mapping[str, Cell]) -> list[Move]:
    """One per backend of the cells (by declared id) whose runtime changed: its first distribution
    is what `backend@version` means.
    """
    from harness.core import registry

    by_backend: dict[str, list[str]] = {}
    for name, cell in cells.items():
        if "@" not in cell.backend and not registry.row(cell.backend).environment:
            by_backend.setdefault(cell.backend, []).append(name)
    found = []
    for backend, names in by_backend.items():
        package = next(iter(registry.find(backend).distributions), "").lower()
        if package in changed:
            found.append(Move(backend, package, *changed[package], tuple(names)))
    return found
