"""What the machine and the interpreter are, as facts for the record: read, never changed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.environment import cpu, gpu

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
"""The CPU features on which runtimes choose their kernels."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Makes idle OpenMP threads sleep instead of spinning. Not the default: a deployment has none of
these variables, and a small network on torch takes several times longer with them
(docs/fairness.md). A backend's option sets them."""


TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
"""With it a shell would overrule every runtime's own switch of TF32, in silence."""


def for_worker(threads: int, extra: dict[str, str]) -> dict[str, str]:
    """The environment variables of a measuring process: the caller's, with the number of threads
    made explicit.

    The waiting policy is each runtime's own default unless `extra` sets it, and TF32 is the cell's;
    what the caller's shell has of them is left out.
    """
    inherited = {
        name: value for name, value in os.environ.items() if name not in (*PASSIVE, TF32_OVERRIDE)
    }
    return {**inherited, **{name: str(threads) for name in THREAD_VARIABLES}, **extra}


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for a process's temporary files, as its TMPDIR: one that is killed leaves them, and
    its parent removes them with this.
    """
    return tempfile.TemporaryDirectory(prefix="evenbench-process-", ignore_cleanup_errors=True)


def relevant_variables() -> dict[str, str]:
    """The variables of this process that are known to change a number."""
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
    """The facts that two results must share to be comparable, and some that explain a difference."""
    return {
        "python": python(),
        "os": platform.platform(),
        "arch": platform.machine(),
        "cpu": cpu_model(),
        "cpu_flags": [flag for flag in FLAGS if flag in _cpu_flags()],
        "cores": cpu.cores(),
        "cores_online": os.cpu_count() or 0,
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "turbo_off": _read("/sys/devices/system/cpu/intel_pstate/no_turbo"),
        "smt": _read("/sys/devices/system/cpu/smt/active"),
        "memory_bytes": _memory_bytes(),
        "gpus": [
            {name: found[name] for name in ("name", "capability", "driver", "memory_bytes")}
            for found in gpu.devices()
        ],
        "packages": packages(distributions),
        "commit": _commit(),
    }


def python() -> str:
    """This interpreter's version."""
    return platform.python_version()


def packages(distributions: tuple[str, ...]) -> dict[str, str]:
    """Installed versions by distribution; absent ones are left out."""
    found = {}
    for name in sorted({*DISTRIBUTIONS, *distributions}):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def installed() -> list[str]:
    """Every distribution of this interpreter as `name==version`; what lies in the user's own
    folders is left out.
    """
    own = [entry for entry in sys.path if entry.startswith((sys.prefix, sys.base_prefix))]
    found = {
        (each.metadata["Name"] or "").lower(): each.version
        for each in metadata.distributions(path=own)
    }
    return [f"{name}=={version}" for name, version in sorted(found.items()) if name]


def load() -> dict[str, Any]:
    """How busy the machine is now: load average and pressure (share of time, in %, that some task
    waited for a CPU).
    """
    pressure = _read("/proc/pressure/cpu")
    waited = [part.partition("=")[2] for part in pressure.split() if part.startswith("avg10=")]
    return {
        "load_average": os.getloadavg()[0],
        "cpu_pressure_percent": float(waited[0]) if waited else None,
    }


def peak_rss_bytes() -> int:
    """The largest resident size of this process so far (VmHWM), or what getrusage knows where there
    is no /proc.
    """
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def rss_bytes(process_id: int) -> int:
    """What is resident of a process now (VmRSS)."""
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
    """The processor's name as the kernel tells it, or what the platform calls it."""
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
    """The commit that is measured, or an empty string: that of the folder in which the run was
    started.

    asv starts what it runs in a scratch folder, and says which commit it has installed and where
    its project is.
    """
    told = os.environ if os.environ.get("ASV") == "true" else {}
    if told.get("ASV_COMMIT"):
        return told["ASV_COMMIT"]
    folder = ["-C", told["ASV_CONF_DIR"]] if told.get("ASV_CONF_DIR") else []
    try:
        asked = subprocess.run(
            ["git", *folder, "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""
