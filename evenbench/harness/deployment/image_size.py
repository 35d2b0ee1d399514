"""The expected size of a deployment's container images, without building any image."""

from __future__ import annotations

import platform
from pathlib import Path

from evenbench.harness.deployment.proof import ImageSize, ProofRecord

COPIED = ("run.py", "settings.json", "parity")
"""Files copied from the folder by both Dockerfiles, besides an included model."""


def expected(proof: ProofRecord, folder: Path, base_bytes: int = 0) -> ImageSize:
    """The expected sizes above the base image, and in total if `base_bytes` is known.

    An image contains the environment, the compiled program, and the files copied from `folder`.
    """
    environment, build = proof.get("environment"), proof.get("build")
    size: ImageSize = {
        "base": f"python:{'.'.join(platform.python_version_tuple()[:2])}-slim",
        "base_bytes": base_bytes or None,
        "above_base_bytes": None,
        "mounted_above_base_bytes": None,
        "bytes": None,
        "mounted_bytes": None,
        "reason": "unknown, because no environment was built",
    }
    if environment is None:
        return size
    copied = sum(_bytes_in(folder / name) for name in COPIED)
    mounted = environment["bytes"] + (build["bytes"] if build else 0) + copied
    included = mounted + _bytes_in(folder / "model")
    size["above_base_bytes"], size["mounted_above_base_bytes"] = included, mounted
    if base_bytes:
        size["bytes"], size["mounted_bytes"] = base_bytes + included, base_bytes + mounted
    unknown = "" if base_bytes else "the size of the base is unknown, see --base-bytes; "
    size["reason"] = f"{unknown}pip and its compiled bytecode come on top; no image was built"
    return size


def _bytes_in(path: Path) -> int:
    """The size of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
