"""Facts about a run at the end of a page: processes, machine, Python and packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.reports import formatting

Line = Mapping[str, Any]
Fact = tuple[str, str]


def processes(line: Line) -> Fact:
    """Return the number of processes per cell, the plan and the start of the run."""
    run = line["run"]
    text = f"{run['processes']} each, plan {run['plan']}, started {run['started']}"
    return "Processes", text


def machine(lines: Sequence[Line]) -> list[Fact]:
    """Return the machine and Python of the first line, and the packages of all lines."""
    environment = lines[0]["environment"]
    cores = formatting.count(environment["cores"], "core")
    packages = {
        name: version
        for line in lines
        for name, version in (line["environment"].get("packages") or {}).items()
    }
    return [
        ("Machine", f"{environment['cpu']}, {cores}, {environment['os']}"),
        ("Python", environment["python"]),
        ("Packages", ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))),
    ]
