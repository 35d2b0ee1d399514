"""What this machine can do at most: its fastest matrix product at a precision, and its memory
bandwidth, for the roofline.

The kernels are those of torch (oneDNN, MKL, cuBLAS), or numpy's where torch is absent;
`torch.utils.benchmark` and `timeit` time them. A peak is the best of several repetitions: whatever
else ran meanwhile can only make it smaller.
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

from backends import cuda_events
from harness import Cell
from harness.environment import gpu

SIZES = {"cpu": (256, 1024), "cuda": (2048, 8192)}
"""Rows of the square matrices. The larger one is left out where one product of it would take longer
than all may.
"""

FLOATS = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}

FALLBACK = "fp32"
"""What a network of lower precision may always be computed in, where the machine is faster that
way.
"""

CACHES = 4
"""How many times the last-level cache an array of the bandwidth's kernels is, as the rules of
STREAM have it.
"""

ARRAY_BYTES = (64 * 2**20, 512 * 2**20)
"""The least and the most that such an array takes."""


@dataclass(frozen=True)
class Rate:
    """How much of something a kernel did in a second, and the kernel's name; the largest of several
    is the peak.
    """

    per_second: float
    by: str


def measure(cell: Cell, seconds: float) -> dict[str, Any]:
    """The peaks of the cell's device, at its precision and number of threads; `seconds` is how long
    each kernel is repeated.

    `reason` says why there is no peak of arithmetic. The keys are those of `limit` in a result
    line.
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


def _most(rates: Iterator[Rate]) -> Rate:
    return max(rates, key=lambda rate: rate.per_second)


def _array_bytes(cache_bytes: int | None) -> int:
    least, most = ARRAY_BYTES
    return min(max(least, CACHES * (cache_bytes or 0)), most)


def cpu_cache_bytes(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int | None:
    """The size of the first core's largest cache, as the kernel tells it; None where it does not."""
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
    bandwidth = _most(_copies(cell, seconds, _array_bytes(cache)))
    try:
        arithmetic = _most(_products(cell, seconds))
    except (
        RuntimeError,
        AttributeError,
    ) as error:  # no kernel of this precision on this device, or none in this release
        reason = f"torch {torch.__version__} has no matrix product at {cell.precision} on {cell.device}: {_first_line(error)}"
        return _facts(torch.__version__, cache, None, bandwidth, reason)
    return _facts(torch.__version__, cache, arithmetic, bandwidth)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _timed(work: float, by: str, cell: Cell, seconds: float, call: Callable[[], Any]) -> Rate:
    """`work` of one call over its best time. The timer waits for the device."""
    from torch.utils.benchmark import Timer

    call()
    timer = Timer("call()", globals={"call": call}, num_threads=cell.threads)
    return Rate(work / min(timer.blocked_autorange(min_run_time=seconds).times), by)


def _products(cell: Cell, seconds: float) -> Iterator[Rate]:
    """Square matrix products at the cell's precision, and at fp32 where that is another one."""
    import torch

    for precision in dict.fromkeys((cell.precision, FALLBACK)):
        if gpu.is_cuda(cell.device):
            cuda_events.allow_tf32(precision == "tf32")
        rate = math.inf
        for size in SIZES[cell.device.partition(":")[0]]:
            work = 2.0 * size**3
            if work / rate < seconds:
                name = f"{precision if precision in FLOATS else 'int8'} product of {size}"
                found = _timed(work, name, cell, seconds, _product(precision, cell.device, size))
                rate = found.per_second
                yield found
    if not gpu.is_cuda(cell.device) and torch.backends.mkldnn.is_available():
        size = SIZES[
            "cpu"
        ][
            -1
        ]  # MKL, behind torch.mm, leaves half the width of some CPUs' vectors unused, and oneDNN does not
        yield _timed(
            2.0 * size**3,
            f"{FALLBACK} product of {size} by oneDNN",
            cell,
            seconds,
            _onednn_product(size),
        )


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
    a, b, made = (torch.randn(size, size, device=device).to(dtype) for _ in range(3))
    return lambda: torch.mm(a, b, out=made)


def _copies(cell: Cell, seconds: float, array_bytes: int) -> Iterator[Rate]:
    """STREAM's copy and triad, whose bytes are counted as STREAM counts them, and a sum, which only
    reads.
    """
    import torch

    a, b, c = (torch.full((array_bytes // 4,), 1.0, device=cell.device) for _ in range(3))
    yield _timed(2.0 * array_bytes, "copy", cell, seconds, lambda: a.copy_(b))
    yield _timed(
        3.0 * array_bytes, "triad", cell, seconds, lambda: torch.add(b, c, alpha=3.0, out=a)
    )
    yield _timed(1.0 * array_bytes, "sum", cell, seconds, b.sum)


# -- numpy -----------------------------------------------------------------------------------------


def _with_numpy(cell: Cell, seconds: float) -> dict[str, Any]:
    """fp32 on the CPU. The threads of a product are those of the variables that the process was
    started with.
    """
    import numpy as np

    if gpu.is_cuda(cell.device):
        raise RuntimeError(
            f"the peaks of {cell.device} are measured with torch, which is not installed; pip install 'evenbench[torch]'"
        )
    cache = cpu_cache_bytes()
    bandwidth = _numpy_copy(cell.threads, seconds, _array_bytes(cache))
    if cell.precision != FALLBACK:
        reason = f"numpy has no matrix product at {cell.precision}, and torch is not installed; pip install 'evenbench[torch]'"
        return _facts(np.__version__, cache, None, bandwidth, reason)
    size = SIZES["cpu"][-1]
    a, b, made = (np.full((size, size), 1.0, np.float32) for _ in range(3))
    product = Rate(
        2.0 * size**3 / _best(lambda: np.matmul(a, b, out=made), seconds), f"fp32 product of {size}"
    )
    return _facts(np.__version__, cache, product, bandwidth)


def _numpy_copy(threads: int, seconds: float, array_bytes: int) -> Rate:
    """A copy whose parts are handed to as many threads: numpy copies in one, and lets go of the
    interpreter meanwhile.
    """
    import numpy as np

    a, b = (np.full(array_bytes // 4, 1.0, np.float32) for _ in range(2))
    parts = list(zip(np.array_split(a, threads), np.array_split(b, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        best = _best(lambda: list(pool.map(lambda pair: np.copyto(*pair), parts)), seconds)
    return Rate(2.0 * array_bytes / best, "copy")


def _best(call: Callable[[], Any], seconds: float) -> float:
    """The seconds that the quickest of some calls took: as many as fit into `seconds`, three at
    least.
    """
    timer = timeit.Timer(call)
    first = timer.timeit(1)
    return min(timer.repeat(max(3, math.ceil(seconds / max(first, 1e-6))), 1))
