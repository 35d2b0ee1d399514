"""The common parts of the result lines of `run`, `load` and `pipeline`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.harness import __version__
from evenbench.harness.core import clock_tick, registry
from evenbench.harness.core.measurements import severity
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import PHASES, Cell
from evenbench.harness.environment import cpu_time, system_info
from evenbench.harness.inputs import calibration as calibration_samples
from evenbench.harness.results import records
from evenbench.harness.results.records import Record
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.prepared import Prepared


def head(cell: Cell, run: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The run, time and cell of a line; `run` has the facts that identify the run."""
    planned = {"plan": plan.name, "processes": plan.processes, "evenbench": __version__}
    return {
        "run": {**run, **planned},
        "time": records.timestamp(),
        "cell": cell.described(),
        "role": registry.row(cell.backend).role,
    }


def calibration(cell: Cell, prepared: Prepared | None) -> dict[str, str] | None:
    """Origin and digest of the calibration samples; None without calibration."""
    if prepared is None or prepared.calibration is None:
        return None
    return {
        "from": calibration_samples.origin(cell.model),
        "sha256": str(prepared.calibration.facts["sha256"]),
    }


def calibration_label(cell: Cell, prepared: Prepared | None) -> list[str]:
    """`calibrated on 3 photographs, 1f2e3d4c`; empty without calibration."""
    known = calibration(cell, prepared)
    if not known:
        return []
    return [f"calibrated on {known['from'].partition(' (')[0]}, {known['sha256'][:8]}"]


def ending(reply: Reply) -> dict[str, Any]:
    """The end of a cell: outcome, phase and reason."""
    return {
        "outcome": reply.outcome,
        "phase": reply.phase,
        "reason": reply.reason,
        "traceback": reply.traceback,
        "signal": reply.signal,
    }


def phases(processes: Sequence[Record]) -> dict[str, list[float]]:
    """Seconds by phase, in a list with a number per process."""
    return {
        phase: [
            process["phases_seconds"][phase]
            for process in processes
            if phase in process["phases_seconds"]
        ]
        for phase in PHASES
    }


def peak_memory(processes: Sequence[Record]) -> dict[str, list[int]]:
    """Peak resident bytes per process."""
    return {"peak_rss_bytes": [process["peak_rss_bytes"] for process in processes]}


def gpus(processes: Sequence[Record]) -> list[Any]:
    """The observed GPU of each process, for processes on a GPU."""
    return [process["gpu"] for process in processes if process.get("gpu")]


def worst_parity(processes: Sequence[Record]) -> dict[str, Any] | None:
    """The worst parity verdict: any failure before a pass, then by `needed`; None for controls."""
    verdicts = [process["parity"] for process in processes if process["parity"]]
    return max(
        verdicts,
        key=lambda verdict: severity(verdict["verdict"], float(verdict["needed"])),
        default=None,
    )


def last(processes: Sequence[Record]) -> Record:
    """The last process, or an empty record."""
    return processes[-1] if processes else {}


def sources(prepared: Prepared | None) -> dict[str, Any]:
    """Digests of the prepared artifact and inputs, and the weights."""
    return {
        "artifact_sha256": prepared.artifact.sha256 if prepared else "",
        "input_sha256": prepared.inputs.facts["sha256"] if prepared else "",
        "weights": prepared.weights if prepared else None,
    }


def environment(prepared: Prepared | None, processes: Sequence[Record]) -> dict[str, Any]:
    """Facts of the machine, from this process and from the measured processes."""
    facts = dict(system_info.describe(prepared.distributions if prepared else ()))
    process = last(processes)
    lock = prepared.environment if prepared else None
    if lock:  # packages of this interpreter are not those of the environment
        facts |= {"python": lock["python"], "packages": {}}
    facts |= process.get("installation", {})
    if prepared and prepared.commit:
        facts["commit"] = prepared.commit
    return {
        **facts,
        "lock": lock,
        "steal": cpu_time.steal_share(),
        clock_tick.RECORDED: clock_tick.ticks_per_second(),
        "variables": process.get("variables", {}),
        **process.get("machine", {}),
    }
