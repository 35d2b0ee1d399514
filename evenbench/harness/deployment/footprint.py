"""The footprint of a backend: installed size and import time of its packages."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from evenbench.harness.core import registry
from evenbench.harness.core.errors import Unavailable
from evenbench.harness.deployment import shared_libraries
from evenbench.harness.environment import environment_names, system_info, virtualenvs
from evenbench.harness.environment.installers import distribution_of
from evenbench.harness.statistics import estimates

PROCESSES = 3
"""Fresh processes that import the runtime. The median counts, because the first process may have to
read the files from disk.
"""

LIMIT_SECONDS = 120.0
"""Limit of one import."""

TIMED = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"


@dataclass(frozen=True)
class Package:
    """A distribution of a closure, and the bytes of its files not counted for an earlier one."""

    name: str
    version: str
    bytes: int


@dataclass(frozen=True)
class Footprint:
    """The packages of a backend. `reason` explains an empty footprint; `missing` names required
    packages that are not installed.
    """

    backend: str
    packages: tuple[Package, ...] = ()
    missing: tuple[str, ...] = ()
    import_seconds: float | None = None
    reason: str = ""
    program: shared_libraries.Program | None = None
    """The program without Python and its libraries, for backends in C++."""

    @property
    def bytes(self) -> int:
        """The size of all packages."""
        return sum(package.bytes for package in self.packages)


def of(backend: str) -> Footprint:
    """The footprint of a backend in its environment. Raises UsageError for an unknown backend."""
    packages, python = listed(backend)
    if not packages.packages:
        return packages
    known = registry.find(backend)
    # Workers of another environment build their program there.
    program = shared_libraries.of(known) if python == sys.executable else None
    seconds = import_seconds(python, known.requires)
    return replace(packages, import_seconds=seconds, program=program)


def listed(backend: str) -> tuple[Footprint, str]:
    """The packages of a backend and their interpreter, without importing or timing."""
    known = registry.find(backend)
    try:
        request = environment_names.request(backend)
    except Unavailable as error:
        return Footprint(backend, reason=str(error)), ""
    environment = virtualenvs.find(request) if request else None
    if request and environment is None:
        name = request.name
        return Footprint(
            backend,
            reason=f"environment {name} is not built; evenbench env build {backend}",
        ), ""
    python = environment.python if environment else sys.executable
    base = [distribution_of(entry) for entry in request.requirements[:1]] if request else []
    roots = base or [distribution_of(entry) for entry in known.distributions[:1]]
    if not roots:
        return Footprint(backend, reason="it names no distribution of a runtime"), python
    installed = {
        distribution_of(distribution.metadata["Name"] or ""): distribution
        for distribution in metadata.distributions(path=_site_packages(python))
    }
    if roots[0] not in installed:
        return Footprint(
            backend,
            missing=tuple(roots),
            reason=f"{roots[0]} is not installed; {registry.row(backend).hint}",
        ), python
    return Footprint(backend, *closure([*roots, "numpy"], installed)), python


def _site_packages(python: str) -> list[str]:
    """The search path of an interpreter for distributions."""
    if python == sys.executable:
        return sys.path
    done = subprocess.run(
        [python, "-I", "-c", "import sys; print('\\n'.join(sys.path))"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()


def closure(
    roots: Sequence[str], installed: Mapping[str, metadata.Distribution]
) -> tuple[tuple[Package, ...], tuple[str, ...]]:
    """The installed packages required by `roots`, roots first, and the names of missing packages.

    Markers decide about requirements; an extra counts only if a requirement names the extra.
    """
    from packaging.requirements import Requirement

    waiting = [Requirement(root) for root in roots]
    reached: dict[str, set[str]] = {}
    missing: dict[str, None] = {}
    while waiting:
        requirement = waiting.pop(0)
        name, extras = distribution_of(requirement.name), {"", *requirement.extras}
        if name not in installed:
            missing[name] = None
            continue
        new = extras - reached.setdefault(name, set())
        reached[name] |= new
        for text in installed[name].requires or []:
            needed = Requirement(text)
            if any(
                needed.marker.evaluate({"extra": extra}) if needed.marker else not extra
                for extra in new
            ):
                waiting.append(needed)
    seen: set[Path] = set()
    packages = tuple(
        Package(name, installed[name].version, _bytes_of(installed[name], seen)) for name in reached
    )
    return packages, tuple(missing)


def _bytes_of(distribution: metadata.Distribution, seen: set[Path]) -> int:
    """The size of a distribution's files in RECORD, except for files in `seen`, which gets the new
    files.
    """
    rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    recorded = [row[0] for row in rows if row and not row[0].endswith(".pyc")]
    files = {Path(str(distribution.locate_file(file))).resolve() for file in recorded} - seen
    seen |= files
    return sum(file.stat().st_size for file in files if file.is_file())


def import_seconds(python: str, names: Iterable[str]) -> float | None:
    """The median seconds of importing `names` in fresh processes; None without names, or for a
    failed import.
    """
    modules = ", ".join(names)
    seconds = []
    for _ in range(PROCESSES if modules else 0):
        command = [python, "-c", TIMED.format(modules)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env=system_info.for_worker(1, {}),
                timeout=LIMIT_SECONDS,
                check=True,
            )
            seconds.append(float(done.stdout.split()[-1]))
        except (subprocess.SubprocessError, ValueError, IndexError):
            return None
    return estimates.median(seconds) if seconds else None
