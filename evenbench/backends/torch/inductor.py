"""Facts read from inductor's generated code, and the settings of torch-compile and torch-aot."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.torch import int8 as torch_int8
from evenbench.backends.torch import outputs, placement
from evenbench.backends.torch.files import exported_files
from evenbench.harness import Cell, Source
from evenbench.harness.environment import gpu, system_info

if TYPE_CHECKING:
    import torch

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"

HEADERS_VARIABLE = "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"
"""Precompiled headers lie in the temporary folder of each process, so every process would compile
headers again, even with cached kernels."""

OPTIONS = {
    "freezing": (
        "True folds weights into the graph as constants (torch._inductor.config.freezing); "
        "always on for int8"
    )
}

CALL = re.compile(
    r"(?<![\"'])(?:extern_kernels\.|torch\.ops\.\w+\.|aoti_torch_(?:cpu|cuda)_)(\w+)(?=[(.])"
)
INTEGER = re.compile(r"_int_mm|qlinear|qconv")
LAYER = re.compile(r"conv|linear|mm")
CONSTANT = re.compile(r"constants_info_\[\d+\]\.dtype = [^;]*?cached_torch_dtype_(\w+)")
RANGES = re.compile(r"cpp_fused\w*_choose_qparams")
THREADS = re.compile(r"num_threads\((\d+)\)")


@dataclass(frozen=True)
class Code:
    """Facts in generated code: library calls, dtypes of constants, threads of parallel regions."""

    calls: Counter[str]
    constants: frozenset[str]
    threads: frozenset[int]
    finds_ranges: bool = False
    """Whether a kernel computes quantisation ranges at run time."""

    @property
    def layers(self) -> tuple[int, int]:
        """The number of integer layers, and of all convolutions and matrix products."""
        integer = sum(count for name, count in self.calls.items() if INTEGER.search(name))
        return integer, sum(count for name, count in self.calls.items() if LAYER.search(name))

    @property
    def int8(self) -> str:
        """The int8 precision of the integer layers, by the origin of ranges; or an empty string."""
        return ("int8-dynamic" if self.finds_ranges else "int8-static") if self.layers[0] else ""

    @property
    def labels(self) -> tuple[str, ...]:
        """A label for networks with integer and floating layers."""
        integer, layers = self.layers
        return (f"{integer} of {layers} layers in int8",) if 0 < integer < layers else ()

    def facts(self) -> dict[str, Any]:
        """The facts for the record."""
        integer, layers = self.layers
        return {
            "library_calls": dict(self.calls),
            "integer_layers": integer,
            "layers": layers,
            "parallel_regions": sorted(self.threads),
        }


def read(text: str) -> Code:
    """The facts in generated Python or C++ code."""
    calls, constants, threads = (pattern.findall(text) for pattern in (CALL, CONSTANT, THREADS))
    return Code(
        Counter(calls),
        frozenset(constants),
        frozenset(map(int, threads)),
        bool(RANGES.search(text)),
    )


def refuses(cell: Cell) -> str:
    """The reason why inductor cannot build the cell on any machine, or an empty string."""
    if cell.precision in torch_int8.PRECISIONS and cell.option.get("freezing") is False:
        return "int8 weights are packed by freezing; leave out freezing=False"
    return exported_files.refuses(cell.model) or torch_int8.refuses(cell)


def lacks(cell: Cell) -> str:
    """The missing requirement of this machine for the cell, or an empty string."""
    if not shutil.which("g++"):
        return f"{cell.backend}: inductor needs a C++ compiler; install g++"
    return torch_int8.lacks(cell)


def key(cell: Cell) -> dict[str, Any]:
    """The cache key of generated code beside the module, with compiled-in threads and CPU flags."""
    return {
        "threads": cell.threads,
        "freezing": freezing(cell),
        "compiler": shutil.which("g++") or "",
        # The key of inductor's own cache contains the path of the headers.
        "headers": sys.prefix,
        "cpu_flags": system_info.describe()["cpu_flags"],
        "int8": torch_int8.key(cell),
        "gpus": system_info.describe()["gpus"] if gpu.is_cuda(cell.device) else [],
    }


def freezing(cell: Cell) -> bool:
    """Whether the weights become constants of the graph."""
    return bool(cell.option.get("freezing", cell.precision in torch_int8.PRECISIONS))


@contextmanager
def cache_folder(filled_from: Path | None = None) -> Iterator[str]:
    """A temporary inductor cache for a `with` block, with a copy of the files in `filled_from`."""
    folder = new_cache_folder(filled_from)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_cache_folder(filled_from: Path | None = None) -> str:
    """A new inductor cache, to be removed by the caller.

    Call before importing inductor: inductor reads the variable once.
    """
    folder = tempfile.mkdtemp(prefix="evenbench-inductor-")
    if filled_from and filled_from.exists():
        shutil.copytree(filled_from, folder, dirs_exist_ok=True)
    os.environ[CACHE_VARIABLE] = folder
    os.environ.setdefault(HEADERS_VARIABLE, "0")
    return folder


def quantised_program(source: Source, cell: Cell) -> torch.export.ExportedProgram:
    """The cell's quantised module, exported, with outputs in declared order."""
    module = outputs.in_declared_order(placement.module_of(source.weights_folder, cell), cell.model)
    return torch_int8.quantised(module, cell, source.calibration)
