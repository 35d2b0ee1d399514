"""Environments of their own for backends: `name@version` and `name@environment`, resolved once,
built once, checked before use.

An environment is a list of requirements. It is resolved to a lock (every distribution pinned, and
the Python that it is for), and the lock is what a folder of the cache is built from and called
after. Built with uv or pip (`installers`). The marker is written last, so that a half-built folder
is not an environment; one whose files are gone is built again. This module runs in the parent; a
worker under the environment's own Python says what is really installed there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from harness.core.errors import Unavailable
from harness.environment import environment_names, installers, lockfiles
from harness.environment.environment_names import Request
from harness.environment.installers import InstallError, python_of
from harness.environment.lockfiles import Lock

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Environment:
    """One that is there: its Python, and the lock that it was built from. `lock` is None where
    somebody else made it.
    """

    name: str
    python: str
    lock: Lock | None

    def facts(self) -> dict[str, Any]:
        """Its name and its lock, for the record."""
        lock = self.lock
        assert lock is not None, (
            "an environment that somebody else made has a lock once it was looked into"
        )
        kept = {
            "requirements": list(lock.requirements),
            "packages": list(lock.packages),
            "by": lock.by,
        }
        return {"name": self.name, "python": lock.target["python"], **kept, "sha256": lock.sha256}


# -- what is there already -------------------------------------------------------------------------


def find(asked: Request) -> Environment | None:
    """The environment, where it is there and whole; nothing is resolved or built."""
    if asked.python:
        return Environment(asked.name, asked.python, None)
    lock = lockfiles.locked(asked)
    return (
        Environment(asked.name, str(python_of(lock.folder)), lock)
        if lock and not lockfiles.damage(lock)
        else None
    )


def as_found(there: Environment, python: str, packages: Sequence[str]) -> Environment:
    """An environment that somebody else made, locked as what a process found in it."""
    return replace(there, lock=Lock((), {"python": python}, tuple(packages), ""))


# -- making it -------------------------------------------------------------------------------------


def ensure(asked: Request, tell: Tell = lambda text: None) -> Environment:
    """The environment, resolved and built where it is not there yet; `tell` hears of it before
    anything slow starts.

    Raises Unavailable with the end of the builder's own message where it cannot be had. Two
    processes that want one environment build it once: the second waits for the first.
    """
    there = find(asked)
    if there:
        return there
    with _one_builder(tell):
        there = find(asked)
        if there:
            return there
        lock = lockfiles.locked(asked) or resolve(asked, tell)
        if lockfiles.damage(lock):  # another request may have come to the same lock
            tell(
                f"building environment {asked.name}: {', '.join(asked.requirements)} ({len(lock.packages)} packages)"
            )
            _build(asked, lock)
        wrong = lockfiles.damage(lock)
        if wrong:
            raise Unavailable(
                f"environment {asked.name} was built and {wrong}; look into {lock.folder}, then try again"
            )
        return Environment(asked.name, str(python_of(lock.folder)), lock)


def resolve(asked: Request, tell: Tell = lambda text: None) -> Lock:
    """Pin every distribution that the request needs, and remember the lock. Installs nothing.

    numpy is taken at the version that is used here where the other requirements allow it. Raises
    Unavailable with the resolver's own words where there is no solution, or no network.
    """
    tell(f"resolving environment {asked.name}: {', '.join(asked.requirements)}")
    builder = installers.find()
    here = environment_names.numpy_here()
    try:
        packages = builder.resolve(
            (*asked.requirements, f"numpy=={here}") if here else asked.requirements
        )
    except InstallError:
        try:
            packages = builder.resolve(asked.requirements)
        except InstallError as error:
            raise Unavailable(_failed("resolved", asked, builder.by, error)) from None
    lock = Lock(
        asked.requirements,
        environment_names.target(),
        tuple(sorted(packages, key=str.casefold)),
        builder.by,
    )
    lockfiles.write(lockfiles.file_of(asked), lock)
    return lock


def _build(asked: Request, lock: Lock) -> None:
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
        raise Unavailable(_failed("built", asked, builder.by, error)) from None
    finally:
        pinned.unlink(missing_ok=True)
    lockfiles.write(lock.folder / lockfiles.MARKER, lock)


def forget(asked: Request) -> None:
    """Delete what the request was resolved to and what was built from it."""
    lock = lockfiles.locked(asked)
    if lock:
        remove(lock)


def remove(lock: Lock) -> None:
    """Delete a built environment, and every lock that names it, so that the next use resolves and
    builds it again.
    """
    with _one_builder(lambda text: None):
        for file in (lockfiles.root() / "locks").glob("*.json"):
            kept = lockfiles.read(file)
            if kept and kept.sha256 == lock.sha256:
                file.unlink(missing_ok=True)
        shutil.rmtree(lock.folder, ignore_errors=True)


def _failed(what: str, asked: Request, by: str, error: InstallError) -> str:
    return (
        f"environment {asked.name} ({', '.join(asked.requirements)}) could not be {what} by {by}: {error}; check the names and versions, "
        f"and that the package index can be reached, or set {environment_names.variable_of(asked.name)} to the Python of an environment that you made"
    )


@contextmanager
def _one_builder(tell: Tell) -> Iterator[None]:
    """Hold the cache's one lock for building; a second process waits, and says so."""
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
            tell("waiting for another process that builds an environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
