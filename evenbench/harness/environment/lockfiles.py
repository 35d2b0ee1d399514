"""Lock files of environments: every distribution pinned. Kept in the cache beside built folders."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from evenbench.harness.core import artifact_store
from evenbench.harness.core.errors import StoreError
from evenbench.harness.core.types import digest
from evenbench.harness.environment.environment_names import Request
from evenbench.harness.environment.installers import distribution_of, python_of

MARKER = "environment.json"
NOT_BUILT = "is not built"


@dataclass(frozen=True)
class Lock:
    """Every distribution of an environment, pinned, and the target Python."""

    requirements: tuple[str, ...]
    target: Mapping[str, str]
    packages: tuple[str, ...]
    by: str
    """The resolver and its version; empty for a lock read from an environment made by the user."""

    @property
    def sha256(self) -> str:
        """The digest of the pinned packages and the Python."""
        return digest({"target": self.target, "packages": self.packages})

    @property
    def folder(self) -> Path:
        """The folder of the built environment."""
        return root() / self.sha256[:32]


def root() -> Path:
    """The folder of all environments, in the cache."""
    return artifact_store.root() / "environments"


def locked(request: Request) -> Lock | None:
    """The request's lock from an earlier resolution, or None."""
    return read(file_of(request))


def damage(lock: Lock) -> str:
    """The defect of a built environment, as text; empty if the environment is whole."""
    marked = read(lock.folder / MARKER)
    if marked is None or marked.sha256 != lock.sha256:
        return "was not finished" if lock.folder.exists() else NOT_BUILT
    if not os.access(python_of(lock.folder), os.X_OK):
        return f"has no Python {python_of(lock.folder)} any more"
    installed = {
        distribution_of(distribution.metadata["Name"] or ""): distribution
        for distribution in _installed(lock.folder)
    }
    damaged = [
        package for package in lock.packages if not _whole(installed.get(distribution_of(package)))
    ]
    return f"lacks files of {', '.join(damaged)}" if damaged else ""


def _installed(folder: Path) -> Iterator[metadata.Distribution]:
    """The distributions in a built folder's `site-packages`."""
    return iter(
        metadata.distributions(
            path=[str(path) for path in folder.glob("lib*/python*/site-packages")]
        )
    )


def _whole(distribution: metadata.Distribution | None) -> bool:
    """Whether all files of a distribution exist, except compiled files.

    Reads RECORD, because `files` omits missing files once the backport importlib_metadata is
    imported.
    """
    if distribution is None:
        return False
    record = (distribution.read_text("RECORD") or "").splitlines()
    files = [row[0] for row in csv.reader(record) if row]
    return all(
        Path(str(distribution.locate_file(file))).exists()
        for file in files
        if not file.endswith(".pyc")
    )


def built() -> list[Lock]:
    """The locks of all completely built folders, including damaged folders."""
    return [lock for file in sorted(root().glob(f"*/{MARKER}")) if (lock := read(file))]


def file_of(request: Request) -> Path:
    """The lock file of a request."""
    return root() / "locks" / f"{request.key}.json"


def read(file: Path) -> Lock | None:
    """The lock in a file; None for an absent or malformed file."""
    try:
        kept = json.loads(file.read_text())
        return Lock(
            tuple(kept["requirements"]), kept["target"], tuple(kept["packages"]), kept["by"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(file: Path, lock: Lock) -> None:
    """Write a lock file in one step. Raises StoreError if the cache cannot be written."""
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(asdict(lock), indent=1))
        part.replace(file)
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> StoreError:
    """The error for a cache without write access or free space."""
    return StoreError(
        f"cache {root()} cannot be written ({error.strerror}); set {artifact_store.VARIABLE} to "
        "a folder of yours, or free some space"
    )
