"""Environments of their own for backends: `name@version` and `name@environment`, resolved once,
built once, checked before use.

An environment is a list of requirements. It is resolved to a lock (every distribution pinned, and
the Python that it is for), and the lock is what a folder of the cache is built from and called
after. Built with uv or pip (`installers`). The marker is written last, so that a half-built folder
is not an environment; one whose files are gone is built again. This module runs in the parent; a
worker under the environment's own Python says what is really installed there.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import shutil
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.core import artifact_store, registry
from harness.core.errors import StoreError, Unavailable, UsageError
from harness.core.types import digest
from harness.environment import installers
from harness.environment.installers import InstallError, distribution_of, python_of

VARIABLE = "EVENBENCH_PYTHON_"
"""`EVENBENCH_PYTHON_<NAME>=/path/to/python` gives the interpreter of backends called `ort@<name>`;
it comes before all else.
"""

TABLE = "tool.evenbench.environments"
"""Where a project declares environments, in the nearest `pyproject.toml` upward that has the table:
`name = ["requirement", ...]`.
"""

MARKER = "environment.json"
VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9.]+)?")
"""What stands after `@` is a version where it looks like one (PEP 440); everything else is an
environment's name.
"""

NOT_BUILT = "is not built"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What a backend's name asks for: requirements to be resolved, or the Python of an environment
    that somebody made.
    """

    name: str
    requirements: tuple[str, ...] = ()
    python: str = ""

    @property
    def key(self) -> str:
        """Of the lock that this request was resolved to: 32 hex digits over the requirements, this
        Python and this numpy.
        """
        return digest({"requirements": self.requirements, "for": target(), "numpy": _numpy_here()})[
            :32
        ]


@dataclass(frozen=True)
class Lock:
    """Every distribution of an environment, pinned, and the Python that they were chosen for."""

    requirements: tuple[str, ...]
    target: Mapping[str, str]
    packages: tuple[str, ...]
    by: str
    """The resolver and its version; empty where somebody else made the environment and its packages
    were read from it.
    """

    @property
    def sha256(self) -> str:
        """Over what decides the content: the pinned packages and the Python."""
        return digest({"target": self.target, "packages": self.packages})

    @property
    def folder(self) -> Path:
        """Where it is built."""
        return root() / self.sha256[:32]


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


def root() -> Path:
    """The folder of all environments, in the cache."""
    return artifact_store.root() / "environments"


def target() -> dict[str, str]:
    """The Python that environments are built for: this one."""
    found = {
        "implementation": sys.implementation.name,
        "python": platform.python_version(),
        "platform": sysconfig.get_platform(),
    }
    return found | {"abi": str(sysconfig.get_config_var("SOABI") or "")}


# -- what a name asks for --------------------------------------------------------------------------


def name_of(backend: str) -> str:
    """The environment that a backend's name puts it into: after its `@`, or that of its row; empty
    for this one.
    """
    return backend.partition("@")[2] or registry.row(backend).environment


def request(backend: str) -> Request | None:
    """What the environment of `ort@1.24.1` is made of; None for this one. Reads names only: nothing
    is resolved or built.

    Raises Unavailable for a name that nobody declared, UsageError where a declaration is malformed.
    """
    name = name_of(backend)
    if not name:
        return None
    variable = variable_of(name)
    if variable in os.environ:
        return Request(name, python=_given(variable))
    project = declared()
    if name in project:
        return Request(name, with_numpy(project[name]))
    named = registry.find(backend).environments
    if name in named:
        return Request(name, with_numpy(named[name]))
    plain = registry.row(backend)
    base = tuple(named.get(plain.environment, ())) or registry.find(backend).distributions[:1]
    if VERSION.fullmatch(name) and base:
        return Request(name, with_numpy((f"{base[0]}=={name}", *base[1:])))
    raise Unavailable(_unknown(backend, name, base, sorted({*project, *filter(None, named)})))


def variable_of(name: str) -> str:
    """`EVENBENCH_PYTHON_1_24_1` of `1.24.1`."""
    return VARIABLE + "".join(letter if letter.isalnum() else "_" for letter in name).upper()


def _given(variable: str) -> str:
    python = os.environ[variable]
    if not os.access(python, os.X_OK) or Path(python).is_dir():
        raise Unavailable(
            f"{variable}={python} is no Python; give the path of one in which numpy and the runtime are installed"
        )
    return python


def _unknown(backend: str, name: str, base: Sequence[str], known: Sequence[str]) -> str:
    version = f", a version of {base[0]} such as {backend.partition('@')[0]}@1.2.3," if base else ""
    return (
        f"{backend}: no environment {name!r}; expected {', '.join(known) or 'a declared one'}{version} or declare it in pyproject.toml: "
        f'[{TABLE}] {json.dumps(name)} = ["distribution==version"]; or set {variable_of(name)} to its Python'
    )


def declared() -> dict[str, tuple[str, ...]]:
    """The environments that the project around the working folder declares, by name. Raises
    UsageError where they are malformed.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            table = _table(file)
            if table is not None:
                return {name: _requirements(file, name, value) for name, value in table.items()}
    return {}


def _table(file: Path) -> Mapping[str, Any] | None:
    try:
        found: Any = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read ({error}); mend it, or run from another folder"
        ) from error
    for part in TABLE.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if found is not None and not isinstance(found, Mapping):
        raise UsageError(
            f'{file}: {TABLE} is a {type(found).__name__}; expected a table of name = ["requirement", ...]'
        )
    return found


def _requirements(file: Path, name: str, value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(entry, str) and entry.strip() for entry in value)
    ):
        raise UsageError(
            f'{file}: [{TABLE}] {name} is {value!r}; expected a list of requirements such as ["runtime==1.2"]'
        )
    return tuple(entry.strip() for entry in value)


def with_numpy(requirements: Sequence[str]) -> tuple[str, ...]:
    """The harness's own part of a worker needs numpy, and nothing else that is not in the standard
    library.
    """
    return (
        tuple(requirements)
        if "numpy" in map(distribution_of, requirements)
        else (*requirements, "numpy")
    )


# -- what is there already -------------------------------------------------------------------------


def locked(asked: Request) -> Lock | None:
    """The lock that the request was resolved to before, or None."""
    return _read_lock(_lock_file(asked))


def find(asked: Request) -> Environment | None:
    """The environment, where it is there and whole; nothing is resolved or built."""
    if asked.python:
        return Environment(asked.name, asked.python, None)
    lock = locked(asked)
    return (
        Environment(asked.name, str(python_of(lock.folder)), lock)
        if lock and not damage(lock)
        else None
    )


def as_found(there: Environment, python: str, packages: Sequence[str]) -> Environment:
    """An environment that somebody else made, locked as what a process found in it."""
    return replace(there, lock=Lock((), {"python": python}, tuple(packages), ""))


def damage(lock: Lock) -> str:
    """In words, what is wrong with what was built from the lock; an empty string where it is whole.
    Starts no process.
    """
    marked = _read_lock(lock.folder / MARKER)
    if marked is None or marked.sha256 != lock.sha256:
        return "was not finished" if lock.folder.exists() else NOT_BUILT
    if not os.access(python_of(lock.folder), os.X_OK):
        return f"has no Python {python_of(lock.folder)} any more"
    there = {
        distribution_of(found.metadata["Name"] or ""): found for found in _installed(lock.folder)
    }
    gone = [package for package in lock.packages if not _whole(there.get(distribution_of(package)))]
    return f"lacks files of {', '.join(gone)}" if gone else ""


def _installed(folder: Path) -> Iterator[metadata.Distribution]:
    """What is installed in a built folder, as its `site-packages` has it."""
    return iter(
        metadata.distributions(
            path=[str(path) for path in folder.glob("lib*/python*/site-packages")]
        )
    )


def _whole(found: metadata.Distribution | None) -> bool:
    """Whether every file that a distribution came with is there; compiled ones come and go.

    Read from its RECORD: `files` leaves out what is missing where the backport importlib_metadata
    has been imported.
    """
    if found is None:
        return False
    files = [row[0] for row in csv.reader((found.read_text("RECORD") or "").splitlines()) if row]
    return all(
        Path(str(found.locate_file(file))).exists() for file in files if not file.endswith(".pyc")
    )


def built() -> list[Lock]:
    """The locks of all folders that were built to the end, whole or not."""
    return [lock for file in sorted(root().glob(f"*/{MARKER}")) if (lock := _read_lock(file))]


def _lock_file(asked: Request) -> Path:
    return root() / "locks" / f"{asked.key}.json"


def _read_lock(file: Path) -> Lock | None:
    try:
        kept = json.loads(file.read_text())
        return Lock(
            tuple(kept["requirements"]), kept["target"], tuple(kept["packages"]), kept["by"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_lock(file: Path, lock: Lock) -> None:
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(asdict(lock), indent=1))
        part.replace(file)
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> StoreError:
    return StoreError(
        f"cache {root()} cannot be written ({error.strerror}); set {artifact_store.VARIABLE} to a folder of yours, or free some space"
    )


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
        lock = locked(asked) or resolve(asked, tell)
        if damage(lock):  # another request may have come to the same lock
            tell(
                f"building environment {asked.name}: {', '.join(asked.requirements)} ({len(lock.packages)} packages)"
            )
            _build(asked, lock)
        wrong = damage(lock)
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
    here = _numpy_here()
    try:
        packages = builder.resolve(
            (*asked.requirements, f"numpy=={here}") if here else asked.requirements
        )
    except InstallError:
        try:
            packages = builder.resolve(asked.requirements)
        except InstallError as error:
            raise Unavailable(_failed("resolved", asked, builder.by, error)) from None
    lock = Lock(asked.requirements, target(), tuple(sorted(packages, key=str.casefold)), builder.by)
    _write_lock(_lock_file(asked), lock)
    return lock


def _build(asked: Request, lock: Lock) -> None:
    builder = installers.find()
    shutil.rmtree(lock.folder, ignore_errors=True)
    pinned = root() / "locks" / f"{lock.sha256[:32]}.txt"
    try:
        pinned.write_text("".join(f"{package}\n" for package in lock.packages))
        builder.install(lock.folder, pinned)
    except OSError as error:
        raise _unwritable(error) from error
    except InstallError as error:
        shutil.rmtree(lock.folder, ignore_errors=True)
        raise Unavailable(_failed("built", asked, builder.by, error)) from None
    finally:
        pinned.unlink(missing_ok=True)
    _write_lock(lock.folder / MARKER, lock)


def forget(asked: Request) -> None:
    """Delete what the request was resolved to and what was built from it."""
    lock = locked(asked)
    if lock:
        remove(lock)


def remove(lock: Lock) -> None:
    """Delete a built environment, and every lock that names it, so that the next use resolves and
    builds it again.
    """
    with _one_builder(lambda text: None):
        for file in (root() / "locks").glob("*.json"):
            kept = _read_lock(file)
            if kept and kept.sha256 == lock.sha256:
                file.unlink(missing_ok=True)
        shutil.rmtree(lock.folder, ignore_errors=True)


def _failed(what: str, asked: Request, by: str, error: InstallError) -> str:
    return (
        f"environment {asked.name} ({', '.join(asked.requirements)}) could not be {what} by {by}: {error}; check the names and versions, "
        f"and that the package index can be reached, or set {variable_of(asked.name)} to the Python of an environment that you made"
    )


@contextmanager
def _one_builder(tell: Tell) -> Iterator[None]:
    """Hold the cache's one lock for building; a second process waits, and says so."""
    import fcntl

    try:
        root().mkdir(parents=True, exist_ok=True)
        lock = (root() / ".lock").open("a")
    except OSError as error:
        raise _unwritable(error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            tell("waiting for another process that builds an environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def _numpy_here() -> str:
    try:
        return metadata.version("numpy")
    except metadata.PackageNotFoundError:
        return ""
