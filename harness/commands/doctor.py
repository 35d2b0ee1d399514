"""Looks at the machine and the installation and says what is here, what is missing, and what would
make it quieter.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.commands import console as terminal
from harness.commands import env
from harness.commands.arguments import add_json_flag
from harness.core import artifact_store, registry, thresholds
from harness.core.errors import UsageError
from harness.environment import cpu, cpu_time, gpu, system_info
from harness.statistics.estimates import median

if TYPE_CHECKING:
    from rich.console import Console


BUSY_SECONDS = 0.5
CLOCK_READS = 20_000


@dataclass(frozen=True)
class Finding:
    """One thing about the machine: what was looked at, what was seen, and what to do where it
    disturbs a measurement.
    """

    what: str
    seen: str
    advice: str = ""
    severity: Literal["fine", "note", "warning"] = "fine"


def judged(
    what: str, seen: str, wrong: bool, advice: str, severity: Literal["note", "warning"] = "warning"
) -> Finding:
    """A finding that carries its advice only where something is wrong."""
    return Finding(what, seen, advice, severity) if wrong else Finding(what, seen)


def examine() -> dict[str, Any]:
    """Everything that the doctor sees, as plain JSON. Imports no runtime and changes nothing."""
    return {
        "backends": backends(),
        "environments": env.known(),
        "machine": [asdict(finding) for finding in machine_findings()],
        "clock": clock_floor(),
        "cache": cache(),
    }


def backends() -> list[dict[str, Any]]:
    """Every registered backend: installed versions, what is missing and how to install it. No
    runtime is imported.
    """
    return [_backend(row) for row in registry.rows().values()]


def _backend(row: registry.Row) -> dict[str, Any]:
    known = {"name": row.name, "role": row.role}
    try:
        backend = registry.find(row.name)
    except UsageError as error:
        return {**known, "status": "broken", "versions": {}, "missing": [], "hint": str(error)}
    missing = list(backend.missing())
    status, hint = ("missing", row.hint) if missing else ("here", "")
    return {
        **known,
        "status": status,
        "versions": _versions(backend.distributions),
        "missing": missing,
        "hint": hint,
    }


def _versions(distributions: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine_findings() -> Iterator[Finding]:
    """What disturbs measurements on this machine, in a fixed order."""
    facts = system_info.describe()
    yield _cores(facts)
    yield _governor(str(facts["governor"]))
    yield _turbo(str(facts["turbo_off"]), _read("/sys/devices/system/cpu/cpufreq/boost"))
    yield _smt(str(facts["smt"]))
    yield from _pressure(system_info.load(), int(facts["cores"]))
    yield _steal(cpu_time.steal_share(), int(facts["cores_online"]))
    yield _quota(cpu.quota())
    yield from _memory()
    yield from gpu_findings()
    yield _busy()


def gpu_findings() -> Iterator[Finding]:
    """Each NVIDIA device: what it is, how it fares, and what slows it; or why there is none."""
    found = [
        {**device, **reading} for device, reading in zip(gpu.devices(), gpu.readings(), strict=True)
    ]
    if not found:
        yield Finding("GPU", f"none: {gpu.absence()}")
    for number, device in enumerate(found):
        seen = ", ".join(part for part in _gpu_words(device) if part)
        if device["slowed"]:
            advice = f"its clocks are lowered now ({', '.join(device['slowed'])}); cool it, or lock a clock that it holds (nvidia-smi -lgc)"
            yield Finding(f"GPU {gpu.KIND}:{number}", seen, advice, "warning")
        else:
            advice = "the driver unloads between processes, which lengthens the first step; sudo nvidia-smi -pm 1"
            yield judged(
                f"GPU {gpu.KIND}:{number}", seen, device["persistence"] == "off", advice, "note"
            )


def _gpu_words(device: Mapping[str, Any]) -> Iterator[str]:
    """What the driver tells of the device, in words; empty where it does not tell."""

    def told(words: str, *names: str) -> str:
        return (
            words.format(*(device[name] for name in names))
            if all(device[name] is not None for name in names)
            else ""
        )

    yield told("{}", "name")
    yield told("compute {}", "capability")
    yield told("driver {}", "driver")
    yield f"{device['memory_bytes'] / 2**30:.1f} GiB" if device["memory_bytes"] else ""
    yield told("SM {} of {} MHz", "sm_clock_mhz", "max_sm_clock_mhz")
    yield told("{} °C", "temperature_celsius")
    yield told("{:g} of {:g} W", "power_watts", "power_limit_watts")


def _cores(facts: Mapping[str, Any]) -> Finding:
    usable, online = facts["cores"], facts["cores_online"]
    advice = "this process may use only some cores; that is good for isolation as long as nothing else uses them"
    return judged(
        "cores",
        f"{usable} usable of {online} online, {facts['cpu']}",
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
    advice = "two threads share a core; use taskset, or echo off | sudo tee /sys/devices/system/cpu/smt/control"
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
    advice = "a neighbour takes CPU time from this virtual machine; compare only within one run, or use a host of your own"
    stolen = share * cores > thresholds.STEAL_CORES
    return judged("steal", f"{share:.2%} of CPU time since boot", stolen, advice)


def _quota(granted: float) -> Finding:
    if not granted:
        return Finding("cgroup CPU quota", "none")
    advice = "the kernel stops this process once the quota of a period is used; give the container whole cores (cpuset) instead"
    return Finding("cgroup CPU quota", f"{granted:g} cores", advice, "warning")


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
        return 0.0  # it ended meanwhile, or may not be looked at


def clock_floor() -> dict[str, Any]:
    """The cost of reading the clock twice with nothing in between, in ns: no lap can be shorter
    than this.
    """
    now = time.perf_counter_ns
    floors = []
    for _ in range(CLOCK_READS):
        begin = now()
        floors.append(now() - begin)
    resolution_ns = time.get_clock_info("perf_counter").resolution * 1e9
    return {
        "clock": "time.perf_counter_ns",
        "median_ns": median(floors),
        "minimum_ns": min(floors),
        "resolution_ns": resolution_ns,
    }


def cache() -> dict[str, Any]:
    """The cache folder, its size, and whether it can be written."""
    root = artifact_store.root()
    files = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else []
    nearest = next((path for path in (root, *root.parents) if path.exists()), Path("/"))
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    advice = "" if writable else f"set {artifact_store.VARIABLE} to a folder of yours"
    return {
        "path": str(root),
        "bytes": sum(_bytes(path) for path in files),
        "writable": writable,
        "advice": advice,
    }


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


MARKS = {"fine": ("ok", "green"), "note": ("note", "yellow"), "warning": ("warn", "bold red")}
STATUSES = {
    "here": ("ok", "green"),
    "missing": ("miss", "yellow"),
    "broken": ("broken", "bold red"),
}


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print what `examine` found, worst things marked, each advice under what was seen."""
    from reports import formatting

    console.print(
        f"evenbench on Python {sys.version.split()[0]}, {cpu.cores()} usable cores\n",
        style="dim",
        highlight=False,
    )
    rows = [
        (*STATUSES[entry["status"]], entry["name"], _backend_words(entry), entry["hint"])
        for entry in found["backends"]
    ]
    _table("backends", rows, console)
    _table(
        "other environments", [_environment_row(item) for item in found["environments"]], console
    )
    _table(
        "machine",
        [
            (*MARKS[item["severity"]], item["what"], item["seen"], item["advice"])
            for item in found["machine"]
        ],
        console,
    )
    clock, kept = found["clock"], found["cache"]
    floor = f"two reads of {clock['clock']} cost {clock['median_ns']:g} ns (median), {clock['minimum_ns']} ns (minimum)"
    size = f"{kept['path']}, {formatting.size(kept['bytes'])}"
    writable = MARKS["fine" if kept["writable"] else "warning"]
    _table(
        "harness",
        [(*MARKS["fine"], "clock floor", floor, ""), (*writable, "cache", size, kept["advice"])],
        console,
    )


def _backend_words(entry: Mapping[str, Any]) -> str:
    if entry["status"] == "missing":
        return f"{', '.join(entry['missing'])} not installed"
    versions = ", ".join(f"{name} {version}" for name, version in entry["versions"].items())
    return versions or (
        "needs nothing" if entry["status"] == "here" else "its module does not import"
    )


def _environment_row(item: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    fine = item["state"] in ("built", "given", "not built")
    words = ", ".join(item["packages"] or item["requirements"] or [item["python"]])
    mark, style = MARKS["fine" if fine else "warning"]
    advice = (
        ""
        if fine
        else "it is built again when it is next used"
        if item["packages"]
        else f"correct {item['from']}"
    )
    return mark, style, item["name"], f"{item['state']} ({item['from']}): {words}", advice


def _table(heading: str, rows: list[tuple[str, str, str, str, str]], console: Console) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=4, no_wrap=True)
    table.add_column(min_width=16, no_wrap=True)
    table.add_column(overflow="fold")
    for mark, style, what, seen, advice in rows:
        table.add_row(Text(mark, style=style), Text(what), Text(seen))
        if advice:
            table.add_row("", "", Text(f"→ {advice}", style="cyan"))
    console.print(Text(heading, style="bold"), Padding(table, (0, 0, 1, 2), expand=False))


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `evenbench doctor`."""
    add_json_flag(command)


def run(options: argparse.Namespace) -> int:
    """What the doctor sees."""
    found = examine()
    if options.json:
        print(json.dumps(found))
    else:
        show(found, terminal.console())
    return 0
