"""Facts about AOTInductor packages."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import flops
from backends.torch import description

if TYPE_CHECKING:
    pass


INFO = re.compile(
    r"(inputs|outputs|constants)_info_\[(\d+)\]\.(name|dtype|shape|data_size|original_fqn) = (.*);"
)


KERNEL = re.compile(r'extern "C"\s+void\s+(cpp_[a-z_0-9]+)')


EXTERN = re.compile(r"\b(aoti_torch_(?:cpu|cuda)_[a-z_0-9]+)\(")


def describe(file: Path) -> dict[str, Any]:
    """Facts about compiled code: from the sources and descriptions that lie in the package beside
    it.
    """
    with zipfile.ZipFile(file) as opened:
        names = opened.namelist()
        text = "\n".join(
            opened.read(name).decode(errors="replace") for name in names if name.endswith(".cpp")
        )
        described = [
            json.loads(opened.read(name)) for name in names if name.endswith("_metadata.json")
        ]
        sizes = {
            entry.filename.rpartition("/")[2]: entry.file_size
            for entry in opened.infolist()
            if entry.filename.endswith(".so")
        }
    found: dict[str, dict[int, dict[str, str]]] = {"inputs": {}, "outputs": {}, "constants": {}}
    for kind, index, key, value in INFO.findall(text):
        found[kind].setdefault(int(index), {})[key] = value.strip('"')
    parameters = _parameters(found["constants"].values())
    return description.facts(
        description.PACKAGE,
        file,
        made_by="AOTInductor",
        metadata={key: value for each in reversed(described) for key, value in each.items()},
        inputs=[
            {"name": entry.get("name", ""), "dtype": "", "shape": None}
            for entry in found["inputs"].values()
        ],
        outputs=[
            {"name": entry.get("name", ""), "dtype": "", "shape": None}
            for entry in found["outputs"].values()
        ],
        parameters=parameters,
        flops=flops.not_counted(
            "the package holds compiled code; count in the exported program that it was made from"
        ),
        operators=description.histogram(
            [*set(KERNEL.findall(text)), *EXTERN.findall(text)]
        ),  # a kernel is declared where it is called, too
        computes_in=description.float_names(parameters),
        details={
            "models": sorted({name.split("/")[3] for name in names if "/aotinductor/" in name}),
            "libraries_bytes": sizes,
        },
        notes=[]
        if text
        else ["the package holds no sources, so that constants and kernels are not known"],
    )


def _parameters(constants: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    found: dict[str, dict[str, int]] = {}
    for entry in constants:
        dtype = entry.get("dtype", "").removeprefix("cached_torch_dtype_")
        if dtype in ("int64", "int32", "bool") or "original_fqn" not in entry:
            continue
        count = 1
        for size in re.findall(r"\d+", entry.get("shape", "")):
            count *= int(size)
        width = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}.get(dtype, 1)
        added = found.setdefault(dtype, {"count": 0, "bytes": 0})
        added["count"] += count
        added["bytes"] += count * width
    return description.summed(found)
