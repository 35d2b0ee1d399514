"""`evenbench doctor`: installed and missing packages, environments, and noise on the machine."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.commands import arguments, env
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import artifact_store, exit_codes, registry
from evenbench.harness.core.backend import Backend
from evenbench.harness.core.errors import StoreError, UsageError
from evenbench.harness.environment import cpu, gpu, machine_findings
from evenbench.harness.statistics.estimates import median

if TYPE_CHECKING:
    from rich.console import Console


EPILOG = """\
Docs: docs/results/harness-cost.md, docs/how-to/two-releases.md
"""

EXIT_CODES = {exit_codes.PASS: "printed, whatever is missing"}

CLOCK_READS = 20_000


@dataclass(frozen=True)
class DoctorOptions:
    """The options of `evenbench doctor`."""

    json: bool = False


def examine() -> dict[str, Any]:
    """Return all facts as plain JSON. Imports no runtime and changes nothing."""
    return {
        "backends": backends(),
        "environments": environments(),
        "machine": [asdict(finding) for finding in machine_findings.findings()],
        "clock": clock_floor(),
        "cache": cache(),
    }


def environments() -> list[dict[str, Any]]:
    """Return the named and built environments; empty without a cache folder."""
    try:
        return env.known()
    except StoreError:
        return []


def backends() -> list[dict[str, Any]]:
    """Return every registered backend with installed versions, missing packages and a hint.

    Imports no runtime.
    """
    return [_backend(row) for row in registry.rows().values()]


def _backend(row: registry.Row) -> dict[str, Any]:
    known = {"name": row.name, "role": row.role, "runs": row.runs}
    try:
        backend = registry.find(row.name)
    except UsageError as error:
        nothing: dict[str, Any] = {"versions": {}, "missing": [], "lacks": ""}
        return {**known, "status": "broken", "hint": str(error), **nothing}
    missing = list(backend.missing())
    lacks = "" if missing else _lacks(row, backend)
    status, hint = ("missing", row.hint) if missing else ("limited" if lacks else "here", "")
    return {
        **known,
        "status": status,
        "versions": _versions(backend.distributions),
        "missing": missing,
        "hint": hint,
        "lacks": lacks,
    }


def _lacks(row: registry.Row, backend: Backend) -> str:
    """Why an installed backend measures nothing here: no device, or an environment to be built."""
    if row.environment and not _is_built(row):
        name = f"{row.environment}"
        return f"environment {name} is not built; its first run, or `evenbench env build`, does"
    reasons = [gpu.lacks(device) for device in backend.devices]
    return reasons[0] if all(reasons) else ""


def _is_built(row: registry.Row) -> bool:
    return any(
        item["name"] == row.environment and item["state"] in ("built", "given")
        for item in environments()
    )


def _versions(distributions: tuple[str, ...]) -> dict[str, str]:
    versions = {}
    for name in distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def clock_floor() -> dict[str, Any]:
    """Return the time between two reads of the clock in ns, a lower limit of laps."""
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
    """Return the cache folder with size and write permission."""
    try:
        root = artifact_store.root()
    except StoreError as error:
        return {"path": "", "bytes": 0, "writable": False, "advice": str(error)}
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


MARKS = {"fine": ("ok", "green"), "note": ("note", "yellow"), "warning": ("warn", "bold red")}
STATUSES = {
    "here": ("ok", "green"),
    "missing": ("miss", "yellow"),
    "limited": ("note", "yellow"),
    "broken": ("broken", "bold red"),
}


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return the verdict in two lines: on the machine, and on the runtimes."""
    from evenbench.reports import formatting

    disturbed = [item["what"] for item in facts["machine"] if item["severity"] == "warning"]
    runtimes = [
        entry
        for entry in facts["backends"]
        if entry["role"] == "runtime" and entry["runs"] == "networks"
    ]
    ready = [entry for entry in runtimes if entry["status"] == "here"]
    things = formatting.count(len(disturbed), "thing disturbs", "things disturb")
    machine = (
        f"{things} measurements on this machine: {formatting.listing(disturbed)}"
        if disturbed
        else "Nothing disturbs measurements on this machine"
    )
    return [machine, f"{len(ready)} of {formatting.count(len(runtimes), 'runtime')} ready"]


def show(facts: Mapping[str, Any], console: Console) -> None:
    """Print the verdict, then the facts of `examine` with marks and advice."""
    from evenbench.reports import formatting

    for line in verdict(facts):
        console.print(line, style="bold", highlight=False)
    console.print(
        f"evenbench on Python {sys.version.split()[0]}, {cpu.cores()} usable cores\n",
        style="dim",
        highlight=False,
    )
    _table(
        "machine",
        [
            (*MARKS[item["severity"]], item["what"], item["seen"], item["advice"])
            for item in facts["machine"]
        ],
        console,
    )
    for heading, entries in _by_use(facts["backends"]).items():
        rows = [
            (*STATUSES[entry["status"]], entry["name"], _backend_words(entry), entry["hint"])
            for entry in entries
        ]
        _table(heading, rows, console)
    _table(
        "other environments", [_environment_row(item) for item in facts["environments"]], console
    )
    clock, folder = facts["clock"], facts["cache"]
    floor = (
        f"two reads of {clock['clock']} cost {clock['median_ns']:g} ns (median), "
        f"{clock['minimum_ns']} ns (minimum)"
    )
    size = f"{folder['path']}, {formatting.size(folder['bytes'])}" if folder["path"] else "none"
    writable = MARKS["fine" if folder["writable"] else "warning"]
    _table(
        "harness",
        [(*MARKS["fine"], "clock floor", floor, ""), (*writable, "cache", size, folder["advice"])],
        console,
    )


def _by_use(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The backends by use; controls and references only where something is wrong with them."""
    runtimes = [entry for entry in entries if entry["role"] == "runtime"]
    others = [entry for entry in entries if entry["role"] != "runtime"]
    return {
        "runtimes": [entry for entry in runtimes if entry["runs"] == "networks"],
        "libraries for the steps around a network": [
            entry for entry in runtimes if entry["runs"] == "steps"
        ],
        "controls and references": [entry for entry in others if entry["status"] != "here"],
    }


def _backend_words(entry: Mapping[str, Any]) -> str:
    if entry["status"] == "missing":
        return f"{', '.join(entry['missing'])} not installed"
    if entry.get("lacks"):
        return str(entry["lacks"])
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
        else "the next use builds the environment again"
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


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    arguments.add_json_flag(command)


def run(options: DoctorOptions) -> int:
    """Print the state of the installation and of the machine."""
    facts = examine()
    if options.json:
        print(json.dumps(facts))
    else:
        show(facts, terminal.console())
    return exit_codes.PASS
