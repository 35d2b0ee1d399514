"""Facts about the machine and the interpreter, for the record. Nothing is changed."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from evenbench.harness.environment import cpu, git_command, gpu

DISTRIBUTIONS = ("evenbench", "numpy", "pillow", "scikit-image", "scikit-learn", "scipy")
"""Recorded for every run; backends add their own by `requires`."""

FLAGS = (
    *(
        "avx2",
        "avx512f",
        "avx512_vnni",
        "avx_vnni",
        "avx512_bf16",
        "avx512_fp16",
        "amx_bf16",
        "amx_fp16",
        "amx_int8",
    ),
    *("asimd", "asimdhp", "bf16", "sve"),
)
"""CPU features by which runtimes choose kernels."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Variables for idle OpenMP threads to sleep instead of spinning.

Not the default: deployments lack these variables, and small networks on torch take several times
longer with passive threads (docs/explanation/fairness.md). A backend's option sets the variables.
"""


TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
"""A variable of the shell that silently overrides every runtime's TF32 setting."""


def for_worker(threads: int, extra: dict[str, str]) -> dict[str, str]:
    """Environment variables of a measuring process: inherited, with an explicit number of threads.

    Waiting policy and TF32 are left to the runtime and the cell: the shell's values are dropped,
    and `extra` may set others. A side of a comparison runs in a checkout of its own, so the
    repository of a git hook is dropped too.
    """
    inherited = {
        name: value
        for name, value in git_command.without_repository(os.environ).items()
        if name not in (*PASSIVE, TF32_OVERRIDE)
    }
    return {**inherited, **{name: str(threads) for name in THREAD_VARIABLES}, **extra}


def relevant_variables() -> dict[str, str]:
    """The variables of this process with a known effect on measurements."""
    prefixes = (
        "OMP_",
        "MKL_",
        "KMP_",
        "GOMP_",
        "ONEDNN_",
        "DNNL_",
        "ATEN_",
        "NVIDIA_",
        "CUDA_",
        "OPENBLAS_",
        "TVM_",
    )
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(prefixes)}


@cache
def describe(distributions: tuple[str, ...] = ()) -> dict[str, Any]:
    """Facts that two comparable results share, and facts that explain a difference."""
    return {
        "python": python(),
        "os": platform.platform(),
        "arch": platform.machine(),
        "cpu": cpu_model(),
        "cpu_flags": [flag for flag in FLAGS if flag in _cpu_flags()],
        "cores": cpu.cores(),
        "cores_online": os.cpu_count() or 0,
        "affinity": cpu.allowed(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "turbo_off": _read("/sys/devices/system/cpu/intel_pstate/no_turbo"),
        "smt": _read("/sys/devices/system/cpu/smt/active"),
        "memory_bytes": _memory_bytes(),
        "gpus": [
            {name: device[name] for name in ("name", "capability", "driver", "memory_bytes")}
            for device in gpu.devices()
        ],
        "packages": packages(distributions),
        "commit": _commit(),
    }


def python() -> str:
    """This interpreter's version."""
    return platform.python_version()


def packages(distributions: tuple[str, ...]) -> dict[str, str]:
    """Installed versions by distribution, without absent distributions."""
    versions = {}
    for name in sorted({*DISTRIBUTIONS, *distributions}):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def installed() -> list[str]:
    """Every distribution of this interpreter as `name==version`, without the user's own folders."""
    own = [entry for entry in sys.path if entry.startswith((sys.prefix, sys.base_prefix))]
    versions = {
        (distribution.metadata["Name"] or "").lower(): distribution.version
        for distribution in metadata.distributions(path=own)
    }
    return [f"{name}=={version}" for name, version in sorted(versions.items()) if name]


def load() -> dict[str, Any]:
    """The machine's load now: load average, and CPU pressure in % of time with a waiting task."""
    pressure = _read("/proc/pressure/cpu")
    waited = [part.partition("=")[2] for part in pressure.split() if part.startswith("avg10=")]
    return {
        "load_average": os.getloadavg()[0],
        "cpu_pressure_percent": float(waited[0]) if waited else None,
    }


def peak_rss_bytes() -> int:
    """The largest resident size of this process so far: VmHWM, or getrusage's without /proc."""
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def rss_bytes(process_id: int) -> int:
    """The current resident size of a process (VmRSS)."""
    for line in _read(f"/proc/{process_id}/status").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    import psutil

    return int(psutil.Process(process_id).memory_info().rss)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def cpu_model() -> str:
    """The processor's name from the kernel, else from the platform."""
    for line in _read("/proc/cpuinfo").splitlines():
        if line.lower().startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def _cpu_flags() -> frozenset[str]:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.lower().startswith(("flags", "features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _commit() -> str:
    """The measured commit: of the start folder, or of asv's installation; empty if unknown.

    asv runs benchmarks in a scratch folder, and names the installed commit and its project in
    variables.
    """
    asv = os.environ if os.environ.get("ASV") == "true" else {}
    if asv.get("ASV_COMMIT"):
        return asv["ASV_COMMIT"]
    folder = ["-C", asv["ASV_CONF_DIR"]] if asv.get("ASV_CONF_DIR") else []
    return git_command.run(*folder, "rev-parse", "HEAD", timeout=5).text or ""
