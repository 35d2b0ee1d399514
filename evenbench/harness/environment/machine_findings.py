"""Findings on a machine: facts, and advice against disturbances of measurements."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evenbench.harness.core import thresholds
from evenbench.harness.environment import cpu, cpu_time, git_command, gpu, system_info

BUSY_SECONDS = 0.5
"""Length of the look at other processes."""


@dataclass(frozen=True)
class Finding:
    """A property of the machine, the observed value, and advice against a disturbance."""

    what: str
    seen: str
    advice: str = ""
    severity: Literal["fine", "note", "warning"] = "fine"


def judged(
    what: str, seen: str, wrong: bool, advice: str, severity: Literal["note", "warning"] = "warning"
) -> Finding:
    """Return a finding, with the advice only if wrong."""
    return Finding(what, seen, advice, severity) if wrong else Finding(what, seen)


def findings() -> Iterator[Finding]:
    """Yield the findings in a fixed order."""
    facts = system_info.describe()
    yield _cores(facts)
    yield _instructions(facts["cpu_flags"])
    yield _governor(str(facts["governor"]))
    yield _turbo(str(facts["turbo_off"]), _read("/sys/devices/system/cpu/cpufreq/boost"))
    yield _smt(str(facts["smt"]))
    yield from _pressure(system_info.load(), int(facts["cores"]))
    yield _steal(cpu_time.steal_share(), int(facts["cores_online"]))
    yield _quota(cpu.quota())
    yield from _memory()
    yield _git(str(facts["commit"]))
    yield from gpu_findings()
    yield _busy()


def _instructions(flags: Sequence[str]) -> Finding:
    """The instructions that decide whether bf16 and int8 are faster than fp32."""
    low = [flag for flag in flags if any(kind in flag for kind in ("vnni", "bf16", "amx", "fp16"))]
    seen = f"{', '.join(flags) or 'none known'}"
    if low:
        return Finding("instructions", seen)
    return Finding("instructions", f"{seen}; none for bf16 or int8, which are emulated or slower")


def gpu_findings() -> Iterator[Finding]:
    """Yield each NVIDIA device with state and slowdowns, or the reason for none."""
    devices = [
        {**device, **reading} for device, reading in zip(gpu.devices(), gpu.readings(), strict=True)
    ]
    if not devices:
        yield Finding("GPU", f"none: {gpu.absence()}")
    for number, device in enumerate(devices):
        seen = ", ".join(part for part in _gpu_words(device) if part)
        if device["slowed"]:
            advice = (
                f"its clocks are lowered now ({', '.join(device['slowed'])}); "
                "cool it, or lock a clock that it holds (nvidia-smi -lgc)"
            )
            yield Finding(f"GPU {gpu.KIND}:{number}", seen, advice, "warning")
        else:
            advice = (
                "the driver unloads between processes, which lengthens the first step; "
                "sudo nvidia-smi -pm 1"
            )
            yield judged(
                f"GPU {gpu.KIND}:{number}", seen, device["persistence"] == "off", advice, "note"
            )


def _gpu_words(device: Mapping[str, Any]) -> Iterator[str]:
    """Yield the driver's facts about the device; empty for an unknown fact."""

    def known(words: str, *names: str) -> str:
        return (
            words.format(*(device[name] for name in names))
            if all(device[name] is not None for name in names)
            else ""
        )

    yield known("{}", "name")
    yield known("compute {}", "capability")
    yield known("driver {}", "driver")
    yield f"{device['memory_bytes'] / 2**30:.1f} GiB" if device["memory_bytes"] else ""
    yield known("SM {} of {} MHz", "sm_clock_mhz", "max_sm_clock_mhz")
    yield known("{} °C", "temperature_celsius")
    yield known("{:g} of {:g} W", "power_watts", "power_limit_watts")


def _cores(facts: Mapping[str, Any]) -> Finding:
    usable, online = facts["cores"], facts["cores_online"]
    advice = (
        "this process may use only some cores; "
        "that is good for isolation as long as nothing else uses them"
    )
    flags = ", ".join(facts["cpu_flags"]) or "no vector extensions of note"
    return judged(
        "cores",
        f"{usable} usable of {online} online, {facts['cpu']} ({flags})",
        usable < online,
        advice,
        "note",
    )


def _governor(governor: str) -> Finding:
    if not governor:
        return Finding("CPU governor", "not visible (usual in a virtual machine or container)")
    return judged(
        "CPU governor",
        governor,
        governor != "performance",
        "sudo cpupower frequency-set -g performance",
    )


def _turbo(no_turbo: str, boost: str) -> Finding:
    if not no_turbo and not boost:
        return Finding("turbo", "not visible (usual in a virtual machine or container)")
    file, off = ("intel_pstate/no_turbo", "1") if no_turbo else ("cpufreq/boost", "0")
    on = no_turbo == "0" or (not no_turbo and boost == "1")
    advice = f"clocks change with temperature; echo {off} | sudo tee /sys/devices/system/cpu/{file}"
    return judged("turbo", "on" if on else "off", on, advice, "note")


def _smt(active: str) -> Finding:
    if not active:
        return Finding("SMT", "not visible")
    advice = (
        "two threads share a core; "
        "use taskset, or echo off | sudo tee /sys/devices/system/cpu/smt/control"
    )
    return judged("SMT", "on" if active == "1" else "off", active == "1", advice, "note")


def _pressure(load: Mapping[str, Any], cores: int) -> Iterator[Finding]:
    average, waited = load["load_average"], load["cpu_pressure_percent"]
    yield judged(
        "load average",
        f"{average:.2f} in the last minute",
        average > thresholds.LOAD_PER_CORE * cores,
        "stop what else runs, or wait until it is done",
    )
    if waited is not None:
        yield judged(
            "CPU pressure",
            f"{waited:.1f} % of the last 10 s",
            waited > thresholds.PRESSURE_PERCENT,
            "tasks wait for a core; run fewer of them",
        )


def _steal(share: float | None, cores: int) -> Finding:
    if share is None:
        return Finding("steal", "not visible")
    advice = (
        "a neighbour takes CPU time from this virtual machine; "
        "compare only within one run, or use a host of your own"
    )
    stolen = share * cores > thresholds.STEAL_CORES
    return judged("steal", f"{share:.2%} of CPU time since boot", stolen, advice)


def _quota(granted: float) -> Finding:
    if not granted:
        return Finding("cgroup CPU quota", "none")
    advice = (
        "the kernel stops this process once the quota of a period is used; "
        "give the container whole cores (cpuset) instead"
    )
    return Finding(
        "cgroup CPU quota", f"{granted:g} core{'' if granted == 1 else 's'}", advice, "warning"
    )


def _git(commit: str) -> Finding:
    if commit:
        return Finding("git", f"commit {commit[:10]}")
    reason = git_command.why_unread()
    return judged(
        "git",
        reason or "no commit here",
        bool(reason),
        "results carry no commit, so `evenbench history` leaves them out",
    )


def _memory() -> Iterator[Finding]:
    import psutil

    memory, swapped = psutil.virtual_memory(), psutil.swap_memory().used
    seen = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB available"
    yield judged(
        "memory",
        seen,
        memory.available < thresholds.AVAILABLE_MEMORY_SHARE * memory.total,
        "close programs, so that models and runtimes are not paged out",
    )
    yield judged(
        "swap",
        f"{swapped / 2**30:.2f} GiB in use",
        swapped > thresholds.SWAP_BYTES,
        "free memory, then sudo swapoff -a",
        "note",
    )


def _busy() -> Finding:
    import psutil

    others = [process for process in psutil.process_iter(["name"]) if process.pid != os.getpid()]
    shares: list[tuple[float, str]] = []
    for process in others:
        _share(process)  # the first reading starts the interval
    time.sleep(BUSY_SECONDS)
    for process in others:
        share = _share(process)
        if share > thresholds.BUSY_PERCENT:
            shares.append((share, f"{process.info['name']} (pid {process.pid}) {share:.0f} %"))
    named = ", ".join(text for _, text in sorted(shares, reverse=True)[:5])
    return judged(
        "other processes",
        named or f"none above {thresholds.BUSY_PERCENT:.0f} % of a core",
        bool(named),
        "stop them while you measure",
    )


def _share(process: Any) -> float:
    import psutil

    try:
        return float(process.cpu_percent(None))
    except psutil.Error:
        return 0.0  # the process has ended, or belongs to another user


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
