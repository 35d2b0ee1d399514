"""Model files of every format of the backends, recognised by their bytes and described."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbench.harness import UsageError
from evenbench.harness.core import import_strings

EXPECTED = (
    ".onnx, TorchScript (.pt), an exported program or an AOTInductor package (.pt2), "
    "or a TensorRT plan"
)

READERS: Mapping[str, str] = {
    "onnx": "evenbench.backends.onnx.description:describe",
    "torchscript": "evenbench.backends.torch.files.torchscript_description:describe",
    "program": "evenbench.backends.torch.files.program_description:describe",
    "package": "evenbench.backends.torch.files.package_description:describe",
    "plan": "evenbench.backends.tensorrt.description:describe",
}
"""The reader of each kind of file. Readers return the facts listed in
docs/how-to/look-into-a-model.md, or raise UsageError.
"""

PLANS = (b"vtrt", b"ftrt", b"ptrt")
"""The first bytes of TensorRT plans."""


def describe(file: Path, shapes: Sequence[Sequence[int]] = ()) -> dict[str, Any]:
    """Every fact about a model file.

    `shapes` are the shapes of the inputs, for TorchScript files, which do not record shapes.
    Raises UsageError if the format is unknown or the file is damaged.
    """
    kind = kind_of(file)
    if shapes and kind != "torchscript":
        raise UsageError(f"{file} records the shapes of its inputs, or has none; leave --shape out")
    read = import_strings.resolve(READERS[kind])
    facts = read(file, shapes) if shapes else read(file)
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"file": str(file), "sha256": sha256, **facts}


def kind_of(file: Path) -> str:
    """The key of READERS for a file, by the first bytes and, for archives, by the members."""
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
            f"{file} is a pickle, and reading a pickle runs its code; expected {EXPECTED}"
        )
    raise UsageError(f"{file} is not a known model file; expected {EXPECTED}")


def _kind_of_archive(file: Path) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
            # zipfile opens the last complete archive nested in a truncated archive.
            if min((entry.header_offset for entry in archive.infolist()), default=0) > 0:
                raise zipfile.BadZipFile("the list of entries is missing")
            broken = archive.testzip()
    except Exception as error:  # zipfile raises errors of many types
        raise UsageError(
            f"{file} is a truncated or damaged archive ({error}); export or copy it again"
        ) from error
    if broken:
        raise UsageError(f"{file} is damaged: {broken} does not match its checksum; copy it again")
    if any(name.startswith("data/aotinductor/") for name in names):
        return "package"
    if any(name.startswith("models/") for name in names) and "archive_format" in names:
        return "program"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    if "data.pkl" in names:
        raise UsageError(
            f"{file} holds tensors and no program; "
            "name the function that builds the model, as package.module:build"
        )
    raise UsageError(f"{file} is an archive of an unknown kind; expected {EXPECTED}")
