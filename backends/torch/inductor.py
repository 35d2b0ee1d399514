"""What inductor generated, read back from its code, and the settings that torch-compile and
torch-aot share.
"""

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

from backends.torch import exported_files, outputs, placement
from backends.torch import int8 as torch_int8
from harness import Cell, Source
from harness.environment import gpu, system_info

if TYPE_CHECKING:
    import torch

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"

HEADERS_VARIABLE = "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"
"""Headers compiled ahead lie in the temporary folder, which each process has for itself: made in
every process, also where the kernels come from a cache, and gone with it."""

OPTIONS = {
    "freezing": "True folds weights into the graph as constants (torch._inductor.config.freezing); int8 always does"
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
    """What generated code says of itself: library calls by name, dtypes of constants, and threads
    of its parallel regions.
    """

    calls: Counter[str]
    constants: frozenset[str]
    threads: frozenset[int]
    finds_ranges: bool = False
    """Whether a kernel finds the range of what is then quantised."""

    @property
    def layers(self) -> tuple[int, int]:
        """How many library calls multiply integers, and how many are convolutions or matrix
        products at all.
        """
        integer = sum(count for name, count in self.calls.items() if INTEGER.search(name))
        return integer, sum(count for name, count in self.calls.items() if LAYER.search(name))

    @property
    def int8(self) -> str:
        """Which int8 its integer layers compute in, by where their ranges come from; empty where
        there are none.
        """
        return ("int8-dynamic" if self.finds_ranges else "int8-static") if self.layers[0] else ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Says aloud where only some layers are of integers."""
        integer, layers = self.layers
        return (f"{integer} of {layers} layers in int8",) if 0 < integer < layers else ()

    def facts(self) -> dict[str, Any]:
        """For the record."""
        integer, layers = self.layers
        return {
            "library_calls": dict(self.calls),
            "integer_layers": integer,
            "layers": layers,
            "parallel_regions": sorted(self.threads),
        }


def read(text: str) -> Code:
    """The facts in generated Python or C++."""
    found = (pattern.findall(text) for pattern in (CALL, CONSTANT, THREADS))
    calls, constants, threads = found
    return Code(
        Counter(calls),
        frozenset(constants),
        frozenset(map(int, threads)),
        bool(RANGES.search(text)),
    )


def refuses(cell: Cell) -> str:
    """Why inductor cannot build the cell whatever the machine, in words, or an empty string."""
    if cell.precision in torch_int8.PRECISIONS and cell.option.get("freezing") is False:
        return "int8 weights are packed when they are frozen into the graph; leave freezing away"
    return exported_files.refuses(cell.model) or torch_int8.refuses(cell)


def lacks(cell: Cell) -> str:
    """In words, what this machine lacks for the cell, or an empty string."""
    if not shutil.which("g++"):
        return f"{cell.backend}: inductor needs a C++ compiler; install g++"
    return torch_int8.lacks(cell)


def key(cell: Cell) -> dict[str, Any]:
    """What decides the code that is generated, besides the module: threads are compiled in, and so
    is the CPU's instruction set.
    """
    return {
        "threads": cell.threads,
        "freezing": freezing(cell),
        "compiler": shutil.which("g++") or "",
        "headers": sys.prefix,  # their path is in the key of inductor's own cache, which another environment would never hit
        "cpu_flags": system_info.describe()["cpu_flags"],
        "int8": torch_int8.key(cell),
        "gpus": system_info.describe()["gpus"] if gpu.is_cuda(cell.device) else [],
    }


def freezing(cell: Cell) -> bool:
    """Whether weights become constants of the graph."""
    return bool(cell.option.get("freezing", cell.precision in torch_int8.PRECISIONS))


@contextmanager
def cache_folder(filled_from: Path | None = None) -> Iterator[str]:
    """A cache folder of inductor's own for the `with` block, and gone after it; with a copy of what
    another one holds.
    """
    folder = new_cache_folder(filled_from)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_cache_folder(filled_from: Path | None = None) -> str:
    """As `cache_folder`, for whoever removes it themselves. Set before inductor is imported, since
    it asks once.
    """
    folder = tempfile.mkdtemp(prefix="evenbench-inductor-")
    if filled_from and filled_from.exists():
        shutil.copytree(filled_from, folder, dirs_exist_ok=True)
    os.environ[CACHE_VARIABLE] = folder
    os.environ.setdefault(HEADERS_VARIABLE, "0")
    return folder


def quantised_program(source: Source, cell: Cell) -> torch.export.ExportedProgram:
    """The cell's module with its int8 steps, exported; its outputs in declared order."""
    module = outputs.in_declared_order(placement.module_of(source.weights_folder, cell), cell.model)
    return torch_int8.quantised(module, cell, source.calibration)
