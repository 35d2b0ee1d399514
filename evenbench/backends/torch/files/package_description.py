"""Descriptions of AOTInductor packages, without loading native code."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evenbench.backends import flops
from evenbench.backends.torch import description

INFO = re.compile(
    r"(inputs|outputs|constants)_info_\[(\d+)\]\.(name|dtype|shape|data_size|original_fqn) = (.*);"
)


KERNEL = re.compile(r'extern "C"\s+void\s+(cpp_[a-z_0-9]+)')


EXTERN = re.compile(r"\b(aoti_torch_(?:cpu|cuda)_[a-z_0-9]+)\(")


def describe(file: Path) -> dict[str, Any]:
    """The facts about compiled code, from the sources and metadata in the package."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        text = "\n".join(
            archive.read(name).decode(errors="replace") for name in names if name.endswith(".cpp")
        )
        metadata = [
            json.loads(archive.read(name)) for name in names if name.endswith("_metadata.json")
        ]
        sizes = {
            entry.filename.rpartition("/")[2]: entry.file_size
            for entry in archive.infolist()
            if entry.filename.endswith(".so")
        }
    tensors: dict[str, dict[int, dict[str, str]]] = {"inputs": {}, "outputs": {}, "constants": {}}
    for kind, index, key, value in INFO.findall(text):
        tensors[kind].setdefault(int(index), {})[key] = value.strip('"')
    parameters = _parameters(tensors["constants"].values())
    return description.facts(
        description.PACKAGE,
        file,
        made_by="AOTInductor",
        metadata={key: value for entries in reversed(metadata) for key, value in entries.items()},
        inputs=_values(tensors["inputs"]),
        outputs=_values(tensors["outputs"]),
        parameters=parameters,
        flops=flops.not_counted(
            "the package holds compiled code; count in the original exported program"
        ),
        # The text declares a kernel again at each call.
        operators=description.histogram([*set(KERNEL.findall(text)), *EXTERN.findall(text)]),
        computes_in=description.float_names(parameters),
        details={
            "models": sorted({name.split("/")[3] for name in names if "/aotinductor/" in name}),
            "libraries_bytes": sizes,
        },
        notes=[]
        if text
        else ["the package holds no sources, so constants and kernels are unknown"],
    )


def _values(tensors: Mapping[int, Mapping[str, str]]) -> list[dict[str, Any]]:
    """The described inputs or outputs; packages record neither types nor shapes."""
    return [
        {"name": entry.get("name", ""), "dtype": "", "shape": None} for entry in tensors.values()
    ]


def _parameters(constants: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    by_dtype: dict[str, dict[str, int]] = {}
    for entry in constants:
        dtype = entry.get("dtype", "").removeprefix("cached_torch_dtype_")
        if dtype in ("int64", "int32", "bool") or "original_fqn" not in entry:
            continue
        count = 1
        for size in re.findall(r"\d+", entry.get("shape", "")):
            count *= int(size)
        width = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}.get(dtype, 1)
        total = by_dtype.setdefault(dtype, {"count": 0, "bytes": 0})
        total["count"] += count
        total["bytes"] += count * width
    return description.summed(by_dtype)
