"""A content-addressed cache of folders. Entries with a wrong digest count as absent.

Layout: `<root>/<kind>/<key>/`, or `<key>-<variant>/`, with `manifest.json` beside the files. An
entry is filled in a stage folder and renamed into place, so a killed process leaves no partial
entry. Stdlib only, because the parent process imports this module.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evenbench.harness.core.errors import StoreError
from evenbench.harness.core.measurements import Artifact
from evenbench.harness.core.types import digest, to_json

MANIFEST = "manifest.json"
SEAL = "seal"
"""The key of the manifest with the digest of all others: sizes, facts and parts of the key."""
VARIABLE = "EVENBENCH_CACHE"
_committing = threading.Lock()
LAYOUT = 2
"""Part of every key. Raised when the files left by prepare change their meaning."""


def root() -> Path:
    """The cache folder: $EVENBENCH_CACHE, or the user's cache folder.

    Raises StoreError for a user without a home folder, as in a container with an unknown uid.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser().resolve()
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("evenbench", appauthor=False))
    except (RuntimeError, KeyError) as error:
        raise StoreError(
            f"this user has no home folder for the cache ({error}); set {VARIABLE} to a folder of "
            "yours"
        ) from error


def key_of(parts: Mapping[str, Any]) -> str:
    """The name of an entry: 32 hex digits over all parts that determine its content."""
    return digest({"layout": LAYOUT, **parts})[:32]


def find(
    kind: str,
    parts: Mapping[str, Any],
    accepts: Callable[[Mapping[str, Any]], bool] = lambda facts: True,
) -> Artifact | None:
    """The first entry with accepted facts, or None. An entry with changed files is removed."""
    for folder in _variants(root() / kind / key_of(parts)):
        entry = _entry(folder)
        if entry is not None and accepts(entry.facts):
            return entry
    return None


def _entry(folder: Path) -> Artifact | None:
    """The entry in a folder, or None. A folder with changed files or facts is removed."""
    try:
        manifest = _manifest(folder)
        if manifest["sha256"] == digest(_digests(folder)):
            sizes = (manifest["bytes"], manifest["seconds"])
            return Artifact(str(folder), manifest["sha256"], *sizes, True, manifest["facts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    _remove(folder)
    return None


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an entry. Raises one of many errors for a manifest that is not as written."""
    file = folder / MANIFEST
    if folder.is_symlink() or not stat.S_ISREG(file.lstat().st_mode):
        raise ValueError("no regular file")  # a FIFO would be waited for
    manifest: dict[str, Any] = json.loads(file.read_text())
    if manifest.pop(SEAL) != digest(manifest):
        raise ValueError("changed since the entry was made")
    return manifest


def _remove(place: Path) -> None:
    """Remove a folder, a link or a file; a link's target stays."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            place.unlink()


def _variants(folder: Path) -> Iterator[Path]:
    """The folders of a key: the plain folder, and a folder per variant."""
    yield folder
    yield from sorted(folder.parent.glob(f"{folder.name}-*"))


def stage(kind: str) -> Path:
    """Create an empty folder on the cache's file system. Raises StoreError without write access."""
    parent = root() / kind
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".stage-", dir=parent))
    except OSError as error:
        raise StoreError(
            f"cache {root()} cannot be written ({error.strerror}); set {VARIABLE} to a folder of "
            "yours, or free some space"
        ) from error


def commit(
    stage_folder: Path,
    kind: str,
    parts: Mapping[str, Any],
    seconds: float,
    facts: Mapping[str, Any],
    variant: str = "",
) -> Artifact:
    """Move a filled stage folder into place, over a different entry of the same key.

    An equal entry stays, because another thread's worker may be reading these files. Entries of one
    key with different `variant`s, digests of facts known after the build only, stay side by side.
    """
    digests = _digests(stage_folder)
    size = sum((stage_folder / name).stat().st_size for name in digests)
    manifest: dict[str, Any] = {
        "sha256": digest(digests),
        "bytes": size,
        "seconds": seconds,
        "facts": dict(facts),
        "parts": to_json(parts),
    }
    folder = root() / kind / f"{key_of(parts)}{variant and f'-{variant[:16]}'}"
    try:
        # The facts as another process will read them: numbers as keys become text.
        read = json.loads(json.dumps(manifest))
        sealed = {**manifest, SEAL: digest(read)}
        (stage_folder / MANIFEST).write_text(json.dumps(sealed, indent=1, sort_keys=True))
        with _committing:
            present = _entry(folder) if os.path.lexists(folder) else None
            if present and (present.sha256, present.facts) == (manifest["sha256"], dict(facts)):
                return replace(present, seconds=seconds, cached=False)
            _remove(folder)
            stage_folder.rename(folder)
    except OSError as error:
        raise StoreError(
            f"cache {root()} cannot be written ({error.strerror}); free some space, then try again"
        ) from error
    return Artifact(str(folder), manifest["sha256"], size, seconds, False, manifest["facts"])


def discard(stage_folder: Path) -> None:
    """Remove a stage folder after a failure."""
    shutil.rmtree(stage_folder, ignore_errors=True)


def digest_file(path: Path) -> str:
    """sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_folder(folder: Path) -> str:
    """The digest of an entry's current files: an artifact's `sha256`."""
    return digest(_digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST
    )
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in files}
