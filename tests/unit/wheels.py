"""Wheels made here, so that resolving and installing can be tested without a network."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

NUMPY = metadata.version("numpy")


def wheel(folder: Path, name: str, version: str, needs: Sequence[str] = ()) -> Path:
    """A wheel whose one module, called like the distribution, knows its version."""
    plain = name.replace("-", "_")
    about = f"{plain}-{version}.dist-info"
    files = {
        f"{plain}.py": f"VERSION = {version!r}\n",
        f"{about}/METADATA": "\n".join(
            [
                "Metadata-Version: 2.1",
                f"Name: {name}",
                f"Version: {version}",
                *(f"Requires-Dist: {need}" for need in needs),
                "",
            ]
        ),
        f"{about}/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    files[f"{about}/RECORD"] = "".join(f"{file},,\n" for file in (*files, f"{about}/RECORD"))
    made = folder / f"{plain}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return made


def shelf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that uv and pip know: two releases of a runtime, and one that
    wants an old numpy.
    """
    folder.mkdir()
    for version in ("1.0", "2.0"):
        wheel(folder, "shelved-runtime", version)
    wheel(folder, "picky-runtime", "1.0", ["numpy==1.0"])
    for version in ("1.0", NUMPY, "9999.0"):
        wheel(folder, "numpy", version)
    for tool in ("UV", "PIP"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder
