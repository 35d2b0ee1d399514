"""The installed size and import time of the packages that a backend needs."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core import registry
from harness.core.errors import Unavailable
from harness.deployment import shared_libraries
from harness.environment import environment_names, system_info, virtualenvs
from harness.environment.installers import distribution_of
from harness.statistics import estimates

if TYPE_CHECKING:
    pass

PROCESSES = 3
"""Fresh processes that import the runtime; the middle one counts, since the first may find the
files on the disk only.
"""

LIMIT_SECONDS = 120.0
"""Of one import."""

TIMED = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"


@dataclass(frozen=True)
class Package:
    """One distribution of a closure, and the bytes of its files that no earlier one has."""

    name: str
    version: str
    bytes: int


@dataclass(frozen=True)
class Footprint:
    """What one backend needs. `reason` says in words why the rest is empty; `missing` names what is
    asked for and not installed.
    """

    backend: str
    packages: tuple[Package, ...] = ()
    missing: tuple[str, ...] = ()
    import_seconds: float | None = None
    reason: str = ""
    program: shared_libraries.Program | None = None
    """What a program without Python needs, of a backend that is one."""

    @property
    def bytes(self) -> int:
        """Of all packages together."""
        return sum(package.bytes for package in self.packages)


def of(backend: str) -> Footprint:
    """The footprint of a backend in the environment that it lives in. Raises UsageError for one
    that is not known.
    """
    found, python = listed(backend)
    if not found.packages:
        return found
    known = registry.find(backend)
    program = (
        shared_libraries.of(known) if python == sys.executable else None
    )  # another environment's is built there, by its workers
    return replace(found, import_seconds=import_seconds(python, known.requires), program=program)


def listed(backend: str) -> tuple[Footprint, str]:
    """The packages of a backend, and the interpreter that they belong to; nothing is imported or
    timed.
    """
    known = registry.find(backend)
    try:
        asked = environment_names.request(backend)
    except Unavailable as error:
        return Footprint(backend, reason=str(error)), ""
    there = virtualenvs.find(asked) if asked else None
    if asked and there is None:
        return Footprint(
            backend,
            reason=f"environment {asked.name} is not built; evenbench environments build {backend}",
        ), ""
    python = there.python if there else sys.executable
    base = [distribution_of(entry) for entry in asked.requirements[:1]] if asked else []
    roots = base or [distribution_of(entry) for entry in known.distributions[:1]]
    if not roots:
        return Footprint(backend, reason="it names no distribution of a runtime"), python
    installed = {
        distribution_of(found.metadata["Name"] or ""): found
        for found in metadata.distributions(path=_site_packages(python))
    }
    if roots[0] not in installed:
        return Footprint(
            backend,
            missing=tuple(roots),
            reason=f"{roots[0]} is not installed; {registry.row(backend).hint}",
        ), python
    return Footprint(backend, *closure([*roots, "numpy"], installed)), python


def _site_packages(python: str) -> list[str]:
    """Where an interpreter finds distributions: of this one, its own search path."""
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
    """Everything that `roots` need of what is installed, each once, roots first; and what they need
    that is not there.

    Requirements whose markers do not apply here are no needs, and those of an extra only where
    something asks for that extra.
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
    """The size of a distribution's files that are not in `seen`, where they are put. Read from its
    RECORD, as in `environments`.
    """
    files = [
        row[0] for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()) if row
    ]
    found = {
        Path(str(distribution.locate_file(file))).resolve()
        for file in files
        if not file.endswith(".pyc")
    } - seen
    seen |= found
    return sum(file.stat().st_size for file in found if file.is_file())


def import_seconds(python: str, names: Iterable[str]) -> float | None:
    """The middle of a few fresh processes that import `names`; None where there is none to import,
    or it fails.
    """
    listed = ", ".join(names)
    taken = []
    for _ in range(PROCESSES if listed else 0):
        command = [python, "-c", TIMED.format(listed)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env=system_info.for_worker(1, {}),
                timeout=LIMIT_SECONDS,
                check=True,
            )
            taken.append(float(done.stdout.split()[-1]))
        except (subprocess.SubprocessError, ValueError, IndexError):
            return None
    return estimates.median(taken) if taken else None
