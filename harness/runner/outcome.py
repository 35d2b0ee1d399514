"""One cell's processes become its one outcome, and its line in the results file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from harness import __version__
from harness.core import registry
from harness.core.cases import Entry
from harness.core.errors import Unavailable
from harness.core.types import BOUNDARIES, INNER_BOUNDARIES, PHASES, Cell, Plan
from harness.environment import energy, system_info, virtualenvs
from harness.results import quality_warnings, records
from harness.results.records import Record
from harness.runner import roofline
from harness.runner.job import Reply
from harness.runner.preparation import Prepared


def verdict(reply: Record) -> Reply | None:
    """The refusal that one process's measurement amounts to, or None where it may count."""
    if reply["asked_is_used"]:
        return Reply(None, "fallback", "sample", reply["asked_is_used"])
    parity = reply["parity"]
    if parity and parity["verdict"] == "degenerate":
        return Reply(None, "failed", "parity", parity["reason"])
    if parity and parity["verdict"] == "too exact":
        return Reply(None, "fallback", "parity", parity["reason"])
    if parity and parity["verdict"] == "fail":
        return Reply(None, "mismatch", "parity", parity["reason"])
    return None


def line(
    entry: Entry,
    run: Mapping[str, Any],
    plan: Plan,
    reply: Reply,
    prepared: Prepared | None,
    processes: Sequence[Record],
    peaks: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One line of the results file, every key present; see `docs/results.md`. `run` holds the run's
    id, start and seed.

    `peaks` is what the machine can do at most at this cell's precision and threads (`limit.Peaks`),
    where that was asked.
    """
    cell = entry.cell
    last = processes[-1] if processes else {}
    judged = _worst_parity(processes, prepared)
    agreement = (
        judged.pop("agreement", None) if judged else None
    )  # beside the verdict: it decides nothing, unless objects were matched
    backend_row = registry.row(cell.backend)
    made = {
        "schema": records.SCHEMA,
        "run": {**run, "plan": plan.name, "processes": plan.processes, "evenbench": __version__},
        "time": records.timestamp(),
        "case": entry.case,
        "cell": cell.described(),
        "role": backend_row.role,
        "outcome": reply.outcome,
        "phase": reply.phase,
        "reason": reply.reason,
        "traceback": reply.traceback,
        "signal": reply.signal,
        "hint": _hint(cell) if reply.outcome == "unavailable" else "",
        **_measured(prepared, processes),
        "parity": judged,
        "agreement": agreement or None,
        **_accuracy(processes),
        "attested": last.get("attested"),
        "labels": _labels(last.get("attested") or {}),
        **_provenance(prepared),
        "limit": roofline.of(cell, prepared.work, peaks)
        if prepared and prepared.work and peaks
        else None,
        "environment": environment_of(prepared, processes),
        "reproduce": f"{entry.command} --cell {shlex.quote(cell.id)} --plan {plan.name}",
    }
    made["warnings"] = [str(warning) for warning in quality_warnings.about(made)]
    return made


def _accuracy(processes: Sequence[Record]) -> dict[str, Any]:
    """The accuracy on the data that the user named, and which data that was; without any, that of
    the model's own held-out split.
    """
    scored = next((process["scored"] for process in processes if process.get("scored")), None)
    if scored:
        return {"accuracy": scored["accuracy"], "dataset": scored["dataset"]}
    return {"accuracy": processes[-1].get("accuracy") if processes else None, "dataset": None}


def _hint(cell: Cell) -> str:
    """How to get the packages that an unavailable cell lacks; whatever else is missing, its reason
    says what to do about.
    """
    try:
        elsewhere = virtualenvs.request(cell.backend)
    except Unavailable:
        return "`evenbench environments` lists those that have a name"
    if elsewhere:
        return f"evenbench environments build {cell.backend}"
    return registry.row(cell.backend).hint if registry.find(cell.backend).missing() else ""


def _labels(attested: Mapping[str, Any]) -> list[str]:
    """The session's own labels, and that its precision is emulated where it is."""
    return [*attested.get("labels", ()), *(["emulated"] if attested.get("emulated") else [])]


def _measured(prepared: Prepared | None, processes: Sequence[Record]) -> dict[str, Any]:
    """What the processes recorded, gathered by name into one list entry per process; prepare ran
    once for all of them.
    """

    def gather(name: str, boundaries: Sequence[str] = BOUNDARIES) -> dict[str, list[Any]]:
        return {
            boundary: [process[name][boundary] for process in processes]
            for boundary in boundaries
            if processes
        }

    timed = [
        *BOUNDARIES,
        *(
            inner
            for inner in INNER_BOUNDARIES
            if processes and inner in processes[-1]["samples_ns"]
        ),
    ]

    phases = {
        phase: [
            process["phases_seconds"][phase]
            for process in processes
            if phase in process["phases_seconds"]
        ]
        for phase in PHASES
    }
    phases["prepare"] = [prepared.artifact.seconds] if prepared else []
    return {
        "samples_ns": gather("samples_ns", timed),
        "stability": gather("stability"),
        "blocks": gather("blocks"),
        "clock": processes[-1]["clock"] if processes else "",
        "inner_clock": processes[-1]["inner_clock"] if processes else "",
        "binding_ns": [
            process["binding_ns"] for process in processes if process["binding_ns"] is not None
        ],
        "gpu": [process["gpu"] for process in processes if process.get("gpu")],
        "warm_up": [process["warm_up"] for process in processes],
        "phases_seconds": phases,
        "import_seconds": [process["import_seconds"] for process in processes],
        "process_seconds": [process["wall_seconds"] for process in processes],
        "memory": {"peak_rss_bytes": [process["peak_rss_bytes"] for process in processes]},
        "steady_rss_bytes": [
            process["steady_rss_bytes"] for process in processes if process.get("steady_rss_bytes")
        ],
        "energy": energy.combined(processes),
    }


def _worst_parity(processes: Sequence[Record], prepared: Prepared | None) -> dict[str, Any] | None:
    """The verdict of the process that needed most, with the digests of what was timed."""
    verdicts = [process["parity"] for process in processes if process["parity"]]
    if not verdicts or prepared is None:
        return None
    worst = max(verdicts, key=lambda found: found["needed"])
    return {
        **worst,
        "artifact_sha256": processes[-1]["artifact_sha256"],
        "input_sha256": processes[-1]["input_sha256"],
    }


def _provenance(prepared: Prepared | None) -> dict[str, Any]:
    if prepared is None:
        return {
            "input_sha256": "",
            "inputs": None,
            "artifact_sha256": "",
            "artifact": None,
            "weights": None,
            "prepare": None,
        }
    made = prepared.artifact
    return {
        "input_sha256": prepared.inputs.facts["sha256"],
        "inputs": {
            name: value
            for name, value in prepared.inputs.facts.items()
            if name not in ("sha256", "code")
        },
        "artifact_sha256": made.sha256,
        "artifact": {"bytes": made.bytes, "facts": made.facts},
        "weights": prepared.weights,
        "prepare": {"seconds": made.seconds, "cached": made.cached},
    }


def environment_of(prepared: Prepared | None, processes: Sequence[Record]) -> dict[str, Any]:
    """The machine's facts, and what the measuring processes saw of it."""
    found = dict(system_info.describe(prepared.distributions if prepared else ()))
    last = processes[-1] if processes else {}
    lock = prepared.environment if prepared else None
    if lock:  # what is installed here says nothing of an environment of its own
        found |= {"python": lock["python"], "packages": {}}
    found |= last.get("installation", {})
    return {
        **found,
        "lock": lock,
        "steal": system_info.steal_share(),
        "variables": last.get("variables", {}),
        **last.get("machine", {}),
    }
