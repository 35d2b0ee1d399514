"""This machine's peaks for the roofline: the fastest matrix product, and memory bandwidth.

The kernels come from torch (oneDNN, MKL, cuBLAS), or from numpy if torch is absent, timed by
`torch.utils.benchmark` and `timeit`. A peak is the best of several repetitions, because
disturbances only lower the rate.
"""

from __future__ import annotations

import importlib.util
import math
import timeit
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenbench.backends import cuda_events
from evenbench.harness import Cell
from evenbench.harness.environment import gpu

SIZES = {"cpu": (256, 1024), "cuda": (2048, 8192)}
"""Rows of the square matrices. A larger size is skipped if a single product would exceed the time
limit.
"""

FLOATS = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}

FALLBACK = "fp32"
"""A network of lower precision may always compute in fp32, if fp32 is faster on the machine."""

CACHES = 4
"""The size of a bandwidth array in last-level caches, by the rules of STREAM."""

ARRAY_BYTES = (64 * 2**20, 512 * 2**20)
"""The smallest and the largest bandwidth array."""


@dataclass(frozen=True)
class Rate:
    """A kernel's work per second (operations or bytes), and the kernel's name."""

    per_second: float
    by: str


def measure(cell: Cell, seconds: float) -> dict[str, Any]:
    """The peaks of a cell's device at the cell's precision and number of threads.

    `seconds` is the repetition time of each kernel. The result has the keys of `limit` in a result
    line; `reason` explains a missing arithmetic peak.
    """
    library = "torch" if importlib.util.find_spec("torch") else "numpy"
    kernels = _with_torch if library == "torch" else _with_numpy
    return {"library": library, **kernels(cell, seconds)}


def _facts(
    version: str,
    cache_bytes: int | None,
    arithmetic: Rate | None,
    bandwidth: Rate,
    reason: str = "",
) -> dict[str, Any]:
    return {
        "version": version,
        "cache_bytes": cache_bytes,
        "peak_flops_per_second": arithmetic and arithmetic.per_second,
        "peak_by": arithmetic.by if arithmetic else "",
        "bandwidth_bytes_per_second": bandwidth.per_second,
        "bandwidth_by": bandwidth.by,
        "reason": reason,
    }


def _fastest(rates: Iterator[Rate]) -> Rate:
    return max(rates, key=lambda rate: rate.per_second)


def _array_bytes(cache_bytes: int | None) -> int:
    smallest, largest = ARRAY_BYTES
    return min(max(smallest, CACHES * (cache_bytes or 0)), largest)


def cpu_cache_bytes(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int | None:
    """The size of the first core's largest cache as reported by Linux; None if unknown."""
    sizes = [file.read_text().strip() for file in folder.glob("index*/size")]
    units = {"K": 2**10, "M": 2**20}
    return max(
        (int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units), default=None
    )


# -- torch -----------------------------------------------------------------------------------------


def _with_torch(cell: Cell, seconds: float) -> dict[str, Any]:
    import torch

    torch.set_num_threads(cell.threads)
    on_gpu = gpu.is_cuda(cell.device)
    cache = (
        torch.cuda.get_device_properties(cell.device).L2_cache_size if on_gpu else cpu_cache_bytes()
    )
    bandwidth = _fastest(_copies(cell, seconds, _array_bytes(cache)))
    try:
        arithmetic = _fastest(_products(cell, seconds))
    except (RuntimeError, AttributeError) as error:
        # This device or this release of torch lacks a kernel of this precision.
        product = f"no matrix product at {cell.precision} on {cell.device}"
        reason = f"torch {torch.__version__} has {product}: {_first_line(error)}"
        return _facts(torch.__version__, cache, None, bandwidth, reason)
    return _facts(torch.__version__, cache, arithmetic, bandwidth)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _timed(work: float, by: str, cell: Cell, seconds: float, call: Callable[[], Any]) -> Rate:
    """The rate of a call: `work` divided by the best time. The timer waits for the device."""
    from torch.utils.benchmark import Timer

    call()
    timer = Timer("call()", globals={"call": call}, num_threads=cell.threads)
    return Rate(work / min(timer.blocked_autorange(min_run_time=seconds).times), by)


def _products(cell: Cell, seconds: float) -> Iterator[Rate]:
    """The rates of square matrix products at the cell's precision, and at fp32."""
    import torch

    for precision in dict.fromkeys((cell.precision, FALLBACK)):
        if gpu.is_cuda(cell.device):
            cuda_events.allow_tf32(precision == "tf32")
        rate = math.inf
        for size in SIZES[cell.device.partition(":")[0]]:
            work = 2.0 * size**3
            if work / rate < seconds:
                name = f"{precision if precision in FLOATS else 'int8'} product of {size}"
                measured = _timed(work, name, cell, seconds, _product(precision, cell.device, size))
                rate = measured.per_second
                yield measured
    if not gpu.is_cuda(cell.device) and torch.backends.mkldnn.is_available():
        # torch.mm calls MKL, which uses half the vector width on some CPUs; oneDNN uses all of it.
        size = SIZES["cpu"][-1]
        name = f"{FALLBACK} product of {size} by oneDNN"
        yield _timed(2.0 * size**3, name, cell, seconds, _onednn_product(size))


def _onednn_product(size: int) -> Callable[[], Any]:
    import torch
    from torch.utils import mkldnn

    layer = mkldnn.to_mkldnn(torch.nn.Linear(size, size, bias=False).eval())
    rows = torch.randn(size, size).to_mkldnn()

    def call() -> Any:
        with torch.inference_mode():
            return layer(rows)

    return call


def _product(precision: str, device: str, size: int) -> Callable[[], Any]:
    import torch

    if precision not in FLOATS:
        left, right = (
            torch.randint(-127, 127, (size, size), dtype=torch.int8, device=device)
            for _ in range(2)
        )
        return lambda: torch._int_mm(left, right.t())
    dtype = getattr(torch, FLOATS[precision])
    a, b, product = (torch.randn(size, size, device=device).to(dtype) for _ in range(3))
    return lambda: torch.mm(a, b, out=product)


def _copies(cell: Cell, seconds: float, array_bytes: int) -> Iterator[Rate]:
    """The rates of STREAM's copy and triad, with bytes counted as in STREAM, and of a sum."""
    import torch

    a, b, c = (torch.full((array_bytes // 4,), 1.0, device=cell.device) for _ in range(3))
    yield _timed(2.0 * array_bytes, "copy", cell, seconds, lambda: a.copy_(b))
    yield _timed(
        3.0 * array_bytes, "triad", cell, seconds, lambda: torch.add(b, c, alpha=3.0, out=a)
    )
    yield _timed(1.0 * array_bytes, "sum", cell, seconds, b.sum)


# -- numpy -----------------------------------------------------------------------------------------


def _with_numpy(cell: Cell, seconds: float) -> dict[str, Any]:
    """The fp32 peaks of the CPU. Environment variables set the threads of products."""
    import numpy as np

    if gpu.is_cuda(cell.device):
        raise RuntimeError(
            f"the peaks of {cell.device} are measured with torch, which is not installed; "
            "pip install 'evenbench[torch]'"
        )
    cache = cpu_cache_bytes()
    bandwidth = _numpy_copy(cell.threads, seconds, _array_bytes(cache))
    if cell.precision != FALLBACK:
        reason = (
            f"numpy has no matrix product at {cell.precision}, and torch is not installed; "
            "pip install 'evenbench[torch]'"
        )
        return _facts(np.__version__, cache, None, bandwidth, reason)
    size = SIZES["cpu"][-1]
    a, b, product = (np.full((size, size), 1.0, np.float32) for _ in range(3))
    best = _best(lambda: np.matmul(a, b, out=product), seconds)
    arithmetic = Rate(2.0 * size**3 / best, f"fp32 product of {size}")
    return _facts(np.__version__, cache, arithmetic, bandwidth)


def _numpy_copy(threads: int, seconds: float, array_bytes: int) -> Rate:
    """The rate of a copy split over threads: numpy copies in a single thread, without the GIL."""
    import numpy as np

    a, b = (np.full(array_bytes // 4, 1.0, np.float32) for _ in range(2))
    parts = list(zip(np.array_split(a, threads), np.array_split(b, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        best = _best(lambda: list(pool.map(lambda pair: np.copyto(*pair), parts)), seconds)
    return Rate(2.0 * array_bytes / best, "copy")


def _best(call: Callable[[], Any], seconds: float) -> float:
    """The seconds of the quickest call among as many as fit into `seconds`, at least three."""
    timer = timeit.Timer(call)
    first = timer.timeit(1)
    return min(timer.repeat(max(3, math.ceil(seconds / max(first, 1e-6))), 1))
