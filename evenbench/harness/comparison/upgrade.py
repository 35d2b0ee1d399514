"""Upgrades between two recorded states: changed packages, and the environments to compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evenbench.harness.core.errors import UsageError
from evenbench.harness.results import records

if TYPE_CHECKING:
    from evenbench.harness.core.types import Cell


@dataclass(frozen=True)
class BackendUpgrade:
    """The upgrade of a backend: main distribution, both versions, and declared cells."""

    backend: str
    package: str
    old: str
    new: str
    cells: tuple[str, ...]

    @property
    def sides(self) -> tuple[str, str]:
        """The sides to compare: `ort@1.24.1` and `ort@1.31.1`."""
        return f"{self.backend}@{self.old}", f"{self.backend}@{self.new}"

    @property
    def record(self) -> dict[str, dict[str, str]]:
        """The entry in the recorded comparison."""
        return {"from": {self.package: self.old}, "to": {self.package: self.new}}


def packages_of(path: Path) -> dict[str, str]:
    """The package versions of a recorded state, by distribution in lower case.

    Reads results of `evenbench run` or a result file of asv. Raises UsageError for any other
    file, and for two versions of one package.
    """
    if path.suffix == ".json":
        return {
            name.removeprefix("pip+").lower(): version
            for name, version in _asv_requirements(path).items()
        }
    lines = records.read([path]).lines
    if not lines:
        raise UsageError(
            f"{path}: no outcomes; name results of `evenbench run`, "
            "or a file of .asv/results/MACHINE"
        )
    packages: dict[str, str] = {}
    for line in lines:
        if "@" in line["cell"]["backend"]:
            continue  # packages of a named environment, pinned by the name
        for name, version in (line.get("environment") or {}).get("packages", {}).items():
            if packages.setdefault(name.lower(), version) != version:
                raise UsageError(
                    f"{path} holds {name} {packages[name.lower()]} and {version}; "
                    "name the file of one run"
                )
    return packages


def _asv_requirements(path: Path) -> Mapping[str, str]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}: {error}; name results of `evenbench run`, or a file of .asv/results/MACHINE"
        ) from error
    requirements = value.get("requirements") if isinstance(value, dict) else None
    if not isinstance(requirements, dict) or not requirements:
        raise UsageError(
            f"{path}: no asv result with requirements; name a file of .asv/results/MACHINE"
        )
    return requirements


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The packages of both states with different versions, without evenbench."""
    shared = sorted({*old} & {*new} - {"evenbench"})
    return {name: (old[name], new[name]) for name in shared if old[name] != new[name]}


def upgrades(
    changed: Mapping[str, tuple[str, str]], cells: Mapping[str, Cell]
) -> list[BackendUpgrade]:
    """The upgrade of every backend with a changed runtime, from cells by declared id.

    The runtime is the backend's first distribution, the version in `backend@version`.
    """
    from evenbench.harness.core import registry

    by_backend: dict[str, list[str]] = {}
    for name, cell in cells.items():
        if "@" not in cell.backend and not registry.row(cell.backend).environment:
            by_backend.setdefault(cell.backend, []).append(name)
    upgraded = []
    for backend, names in by_backend.items():
        package = next(iter(registry.find(backend).distributions), "").lower()
        if package in changed:
            upgraded.append(BackendUpgrade(backend, package, *changed[package], tuple(names)))
    return upgraded
