"""Locks of environments: every distribution pinned, kept in the cache beside the built folders."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from harness.core import artifact_store
from harness.core.errors import StoreError
from harness.core.types import digest
from harness.environment.environment_names import Request
from harness.environment.installers import distribution_of, python_of

MARKER = "environment.json"
NOT_BUILT = "is not built"


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


def root() -> Path:
    """The folder of all environments, in the cache."""
    return artifact_store.root() / "environments"


def locked(asked: Request) -> Lock | None:
    """The lock that the request was resolved to before, or None."""
    return read(file_of(asked))


def damage(lock: Lock) -> str:
    """In words, what is wrong with what was built from the lock; an empty string where it is whole.
    Starts no process.
    """
    marked = read(lock.folder / MARKER)
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
    return [lock for file in sorted(root().glob(f"*/{MARKER}")) if (lock := read(file))]


def file_of(asked: Request) -> Path:
    return root() / "locks" / f"{asked.key}.json"


def read(file: Path) -> Lock | None:
    try:
        kept = json.loads(file.read_text())
        return Lock(
            tuple(kept["requirements"]), kept["target"], tuple(kept["packages"]), kept["by"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(file: Path, lock: Lock) -> None:
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(asdict(lock), indent=1))
        part.replace(file)
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> StoreError:
    return StoreError(
        f"cache {root()} cannot be written ({error.strerror}); set {artifact_store.VARIABLE} to a folder of yours, or free some space"
    )
