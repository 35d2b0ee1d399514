"""The control groups of this process, of cgroup v1 and v2, from the own group up to the root."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
"""The mount of cgroup v2, or the folder with a mount per controller of cgroup v1."""

MEMBERSHIP = Path("/proc/self/cgroup")
"""A line `number:controllers:/path` per hierarchy; cgroup v2 has number 0 and no controllers."""


def groups(controller: str, root: Path = ROOT, membership: Path = MEMBERSHIP) -> list[Path]:
    """The folders of a controller's groups: the own group first, then all groups around it.

    Limits of an outer group hold too. A container sees its own group as the root of the mount, so
    a path without a folder there is cut from the left.
    """
    lines = (line.split(":", 2) for line in _lines(membership))
    paths = {parts[1]: parts[2].strip("/") for parts in lines if len(parts) == 3}
    folders: list[Path] = []
    for names, path in paths.items():
        if names and controller in names.split(","):
            mounts = [root / controller, root / names]
            folders += _chain(next((mount for mount in mounts if mount.is_dir()), mounts[0]), path)
        elif not names:
            folders += _chain(root, path)
    return folders or [root, root / controller]


def _chain(mount: Path, path: str) -> list[Path]:
    """The folder of a group, and all folders above it up to the mount."""
    parts = path.split("/") if path else []
    while parts and not mount.joinpath(*parts).is_dir():
        parts = parts[1:]
    return [mount.joinpath(*parts[:end]) for end in range(len(parts), -1, -1)]


def number(file: Path) -> int | None:
    """The number in a file; None without a file, and for `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
