"""Model files of every format that a backend here writes or reads: told apart by their bytes, and
described.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import UsageError
from harness.core import import_strings

EXPECTED = ".onnx, TorchScript (.pt), an exported program or an AOTInductor package (.pt2), or a TensorRT plan"

READERS: Mapping[str, str] = {
    "onnx": "backends.onnx.description:describe",
    "torchscript": "backends.torch.torchscript_description:describe",
    "program": "backends.torch.program_description:describe",
    "package": "backends.torch.package_description:describe",
    "plan": "backends.tensorrt.description:describe",
}
"""What reads a file of each kind. It returns the facts that docs/inspect.md lists, or raises
UsageError.
"""

PLANS = (b"vtrt", b"ftrt", b"ptrt")
"""What TensorRT's plans begin with."""


def describe(file: Path, shapes: Sequence[Sequence[int]] = ()) -> dict[str, Any]:
    """Every fact about a model file. `shapes` are those of its inputs, for a file that does not say
    them itself.

    Raises UsageError where it is no model file that we know, or not a whole one.
    """
    kind = kind_of(file)
    if shapes and kind != "torchscript":
        raise UsageError(f"{file} says the shapes of its inputs, or has none; leave --shape out")
    read = import_strings.resolve(READERS[kind])
    facts = read(file, shapes) if shapes else read(file)
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"file": str(file), "sha256": sha256, **facts}


def kind_of(file: Path) -> str:
    """The key of READERS for a file, by its first bytes and, of an archive, by its members."""
    with file.open("rb") as stream:
        head = stream.read(4)
    if not head:
        raise UsageError(f"{file} is empty; export or copy it again")
    if head in PLANS:
        return "plan"
    if head[:2] == b"PK":
        return _kind_of_archive(file)
    if file.suffix == ".onnx":
        return "onnx"
    if head[:2] == b"\x80\x02":
        raise UsageError(
            f"{file} is a pickle, and reading one runs the code that it holds; expected {EXPECTED}"
        )
    raise UsageError(f"{file} is no model file that evenbench knows; expected {EXPECTED}")


def _kind_of_archive(file: Path) -> str:
    try:
        with zipfile.ZipFile(file) as opened:
            names = [name.partition("/")[2] for name in opened.namelist()]
            if (
                min((entry.header_offset for entry in opened.infolist()), default=0) > 0
            ):  # of a cut one, the last whole one inside is found
                raise zipfile.BadZipFile("its own list of entries is not there")
            broken = opened.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise UsageError(
            f"{file} is a truncated or damaged archive ({error}); export or copy it again"
        ) from error
    if broken:
        raise UsageError(
            f"{file} is damaged: {broken} does not agree with its checksum; copy it again"
        )
    if any(name.startswith("data/aotinductor/") for name in names):
        return "package"
    if any(name.startswith("models/") for name in names) and "archive_format" in names:
        return "program"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    if "data.pkl" in names:
        raise UsageError(
            f"{file} holds tensors and no program; name the function that builds the model, as package.module:build"
        )
    raise UsageError(f"{file} is an archive of another kind; expected {EXPECTED}")
