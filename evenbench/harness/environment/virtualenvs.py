"""Virtual environments of backends: resolved once, built once, checked before use.

An environment is a list of requirements, resolved to a lock: every distribution pinned, for one
Python. A folder of the cache is built from the lock, and named after the lock's digest, with uv or
pip (`installers`). The marker is written last, so a half-built folder is no environment; an
environment with missing files is built again. This module runs in the parent. A worker under the
environment's own Python reports the installed packages.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from evenbench.harness.core import quantities
from evenbench.harness.core.errors import Unavailable
from evenbench.harness.environment import environment_names, installers, lockfiles
from evenbench.harness.environment.environment_names import Request
from evenbench.harness.environment.installers import InstallError, python_of
from evenbench.harness.environment.lockfiles import Lock

Report = Callable[[str], None]


@dataclass(frozen=True)
class Environment:
    """An existing environment: its Python and its lock, or None if made by the user."""

    name: str
    python: str
    lock: Lock | None

    def facts(self) -> dict[str, Any]:
        """The name and the lock, for the record."""
        lock = self.lock
        assert lock is not None, (
            "an environment made by the user gets a lock when a process reads its packages"
        )
        kept = {
            "requirements": list(lock.requirements),
            "packages": list(lock.packages),
            "by": lock.by,
        }
        return {"name": self.name, "python": lock.target["python"], **kept, "sha256": lock.sha256}


def find(request: Request) -> Environment | None:
    """The environment, if present and whole. Resolves and builds nothing."""
    if request.python:
        return Environment(request.name, request.python, None)
    lock = lockfiles.locked(request)
    return (
        Environment(request.name, str(python_of(lock.folder)), lock)
        if lock and not lockfiles.damage(lock)
        else None
    )


def as_found(environment: Environment, python: str, packages: Sequence[str]) -> Environment:
    """An environment made by the user, locked to the packages found by a process."""
    return replace(environment, lock=Lock((), {"python": python}, tuple(packages), ""))


def ensure(request: Request, report: Report = lambda text: None) -> Environment:
    """The environment, resolved and built if necessary. `report` gets a line before each slow step.

    Raises Unavailable with the end of the installer's message on failure. Of two processes with one
    request, the second waits for the first.
    """
    environment = find(request)
    if environment:
        return environment
    with _one_builder(report):
        environment = find(request)
        if environment:
            return environment
        lock = lockfiles.locked(request) or resolve(request, report)
        if lockfiles.damage(lock):  # another request may have built the same lock
            report(
                f"building environment {request.name}: {', '.join(request.requirements)} "
                f"({quantities.count(len(lock.packages), 'package')})"
            )
            _build(request, lock)
        wrong = lockfiles.damage(lock)
        if wrong:
            raise Unavailable(
                f"environment {request.name} was built and {wrong}; look into {lock.folder}, "
                "then try again"
            )
        return Environment(request.name, str(python_of(lock.folder)), lock)


def resolve(request: Request, report: Report = lambda text: None) -> Lock:
    """Pin every distribution of the request and keep the lock. Installs nothing.

    Prefers this environment's numpy version, if the other requirements allow. Raises Unavailable
    with the resolver's message if no solution exists or the network is down.
    """
    report(f"resolving environment {request.name}: {', '.join(request.requirements)}")
    builder = installers.find()
    here = environment_names.numpy_here()
    try:
        packages = builder.resolve(
            (*request.requirements, f"numpy=={here}") if here else request.requirements
        )
    except InstallError:
        try:
            packages = builder.resolve(request.requirements)
        except InstallError as error:
            raise Unavailable(_failed("resolved", request, builder.by, error)) from None
    lock = Lock(
        request.requirements,
        environment_names.target(),
        tuple(sorted(packages, key=str.casefold)),
        builder.by,
    )
    lockfiles.write(lockfiles.file_of(request), lock)
    return lock


def _build(request: Request, lock: Lock) -> None:
    builder = installers.find()
    shutil.rmtree(lock.folder, ignore_errors=True)
    pinned = lockfiles.root() / "locks" / f"{lock.sha256[:32]}.txt"
    try:
        pinned.write_text("".join(f"{package}\n" for package in lock.packages))
        builder.install(lock.folder, pinned)
    except OSError as error:
        raise lockfiles.unwritable(error) from error
    except InstallError as error:
        shutil.rmtree(lock.folder, ignore_errors=True)
        raise Unavailable(_failed("built", request, builder.by, error)) from None
    finally:
        pinned.unlink(missing_ok=True)
    lockfiles.write(lock.folder / lockfiles.MARKER, lock)


def forget(request: Request) -> None:
    """Delete the request's lock and its built environment."""
    lock = lockfiles.locked(request)
    if lock:
        remove(lock)


def remove(lock: Lock) -> None:
    """Delete a built environment and all its lock files, so the next use resolves again."""
    with _one_builder(lambda text: None):
        for file in (lockfiles.root() / "locks").glob("*.json"):
            kept = lockfiles.read(file)
            if kept and kept.sha256 == lock.sha256:
                file.unlink(missing_ok=True)
        shutil.rmtree(lock.folder, ignore_errors=True)


def _failed(what: str, request: Request, by: str, error: InstallError) -> str:
    return (
        f"environment {request.name} ({', '.join(request.requirements)}) could not be {what} by "
        f"{by}: {error}; check the names and versions, "
        "and that the package index can be reached, or set "
        f"{environment_names.variable_of(request.name)} to the Python of an environment that you "
        "made"
    )


@contextmanager
def _one_builder(report: Report) -> Iterator[None]:
    """Hold the cache's lock for building. A second process reports the wait and blocks."""
    import fcntl

    try:
        lockfiles.root().mkdir(parents=True, exist_ok=True)
        lock = (lockfiles.root() / ".lock").open("a")
    except OSError as error:
        raise lockfiles.unwritable(error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            report("waiting for another process that builds an environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
