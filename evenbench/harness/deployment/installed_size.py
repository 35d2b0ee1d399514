"""The installed size of a backend's deployment, from packages or a program's files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evenbench.harness.core import registry
from evenbench.harness.core.backend import Backend
from evenbench.harness.core.errors import UsageError
from evenbench.harness.deployment import footprint, shared_libraries
from evenbench.harness.environment.installers import distribution_of


@dataclass(frozen=True)
class Installed:
    """The installed size of a backend's packages with the runtime's distribution and version.

    `bytes` is None for an unknown size, with the reason.
    """

    distribution: str = ""
    version: str = ""
    bytes: int | None = None
    reason: str = ""


def installed(backend: str) -> Installed:
    """Return the runtime's version and the size of the deployment, without imports or timing.

    A C++ program needs files and libraries, a library for ctypes also NumPy, and any other
    backend the closure of its packages.
    """
    listed, python = footprint.listed(backend)
    if not listed.packages:
        return Installed(reason=listed.reason)
    root, known = listed.packages[0], registry.find(backend)
    if python != sys.executable and type(known).binaries is not Backend.binaries:
        return Installed(
            root.name,
            root.version,
            reason="a program of another environment is built and read there alone",
        )
    program = shared_libraries.of(known) if python == sys.executable else None
    if program is None:
        return Installed(root.name, root.version, listed.bytes)
    if program.reason:
        return Installed(
            root.name, root.version, reason=f"what the program needs is not known: {program.reason}"
        )
    is_library = program.files[0].name.endswith(".so")
    numpy = sum(
        package.bytes for package in listed.packages if is_library and package.name == "numpy"
    )
    return Installed(root.name, root.version, program.bytes + numpy)


def installed_or_unknown(backend: str) -> Installed:
    """Return the size of a recorded backend; a user's own may be absent from this machine."""
    try:
        return installed(backend)
    except UsageError:
        return Installed(reason=f"no backend {backend!r} is known here")


def recorded_version(environment: Mapping[str, Any], distribution: str) -> str:
    """Return a distribution's version in a recorded environment, by normalised name, or ""."""
    packages = environment.get("packages") or {}
    versions = (
        str(version)
        for name, version in packages.items()
        if distribution_of(str(name)) == distribution
    )
    return next(versions, "")
