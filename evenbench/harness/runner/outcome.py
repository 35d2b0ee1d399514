"""Combines a cell's measured processes into an outcome and a line of the results file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import Unavailable
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.records.outcome import OutcomeRecord
from evenbench.harness.core.types import BOUNDARIES, COMPUTE, INNER_BOUNDARIES, Cell, to_json
from evenbench.harness.environment import energy, environment_names
from evenbench.harness.results import quality_warnings, records
from evenbench.harness.results.records import Record
from evenbench.harness.runner import record_parts, roofline
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.prepared import Prepared
from evenbench.harness.statistics.estimates import median

WRONG = {
    "degenerate": "failed",
    "too exact": "fallback",
    "fail": "mismatch",
}
"""The outcome of a process by parity verdict; `pass` is absent."""


def verdict(
    process: Record, cell: Cell | None = None, limit: Mapping[str, Any] | None = None
) -> Reply | None:
    """The reply that ends a cell after a wrong process, or None for correct outputs.

    `limit` is the cell's limit on this machine (`roofline.of`), or None if unknown.
    """
    if process["asked_is_used"]:
        return Reply(None, "fallback", "sample", process["asked_is_used"])
    if process.get("impossible"):
        return Reply(None, "failed", "sample", process["impossible"])
    parity = process["parity"]
    if parity and parity["verdict"] in WRONG:
        return Reply(None, WRONG[parity["verdict"]], "parity", parity["reason"])
    laps_ns = process.get("samples_ns", {}).get(COMPUTE)
    if cell and limit and laps_ns and parity:
        reason = roofline.impossible(cell, median(laps_ns), limit)
        if reason:
            return Reply(None, "failed", "sample", reason)
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
    """A line of the results file with every key, as in docs/reference/results-file.md.

    `run` has the run's id, start and seed. `peaks` is the measured peak throughput of the machine
    at the cell's precision and threads (`roofline.Peaks`), or None.
    """
    cell = entry.cell
    attested = record_parts.last(processes).get("attested")
    parity = _parity(processes, prepared)
    # Agreement is kept beside the verdict: only the agreement of matched objects decides.
    agreement = parity.pop("agreement", None) if parity else None
    operations = prepared.work if prepared else None
    record = {
        "schema": records.SCHEMA,
        **record_parts.head(cell, run, plan),
        "case": entry.case,
        **record_parts.ending(reply),
        "hint": _hint(cell) if reply.outcome == "unavailable" else "",
        **_measured(prepared, processes),
        "parity": parity,
        "agreement": agreement or None,
        **_accuracy(processes),
        "attested": attested,
        "labels": [*_labels(attested or {}), *record_parts.calibration_label(cell, prepared)],
        "calibration": record_parts.calibration(cell, prepared),
        **_provenance(prepared),
        "limit": roofline.of(cell, operations, peaks) if operations and peaks else None,
        "environment": record_parts.environment(prepared, processes),
        "reproduce": _reproduce(entry, plan),
        **_other_side(entry, processes),
    }
    record["warnings"] = [
        str(warning) for warning in quality_warnings.about(cast(OutcomeRecord, record))
    ]
    return record


def _reproduce(entry: Entry, plan: Plan) -> str:
    """The command that measures the cell again; a cell of another side joins by `--against`."""
    selected = entry.against.cell if entry.against else entry.cell.id
    return f"{entry.command} {records.cell_flag(selected)} --plan {plan.name}"


def _other_side(entry: Entry, processes: Sequence[Record]) -> dict[str, Any]:
    """The side of a cell, with the origins of the modules, and the past result; usually empty."""
    facts: dict[str, Any] = {}
    if entry.against:
        origins = record_parts.last(processes).get("origins", {})
        facts["against"] = {**to_json(entry.against), "origins": origins}
    if entry.then:
        facts["then"] = entry.then
    return facts


def _accuracy(processes: Sequence[Record]) -> dict[str, Any]:
    """Accuracy on the user's dataset, if any, otherwise on the model's own held-out split."""
    scored = next((process["scored"] for process in processes if process.get("scored")), None)
    if scored:
        return {"accuracy": scored["accuracy"], "dataset": scored["dataset"]}
    return {"accuracy": record_parts.last(processes).get("accuracy"), "dataset": None}


def _hint(cell: Cell) -> str:
    """Install hint for missing packages. Other causes explain themselves in `reason`."""
    try:
        elsewhere = environment_names.request(cell.backend)
    except Unavailable:
        return "`evenbench env` lists the named environments"
    if elsewhere:
        return f"evenbench env build {cell.backend}"
    return registry.row(cell.backend).hint if registry.find(cell.backend).missing() else ""


def _labels(attested: Mapping[str, Any]) -> list[str]:
    """The session's labels, and `emulated` if the arithmetic runs in another precision."""
    return [*attested.get("labels", ()), *(["emulated"] if attested.get("emulated") else [])]


def _measured(prepared: Prepared | None, processes: Sequence[Record]) -> dict[str, Any]:
    """The processes' measurements as lists by name; `prepare` ran once for all processes."""

    def gather(name: str, boundaries: Sequence[str] = BOUNDARIES) -> dict[str, list[Any]]:
        return {
            boundary: [process[name][boundary] for process in processes]
            for boundary in boundaries
            if processes
        }

    last = record_parts.last(processes)
    inner = [name for name in INNER_BOUNDARIES if name in last.get("samples_ns", ())]
    bindings = [process["binding_ns"] for process in processes]
    steady = [process.get("steady_rss_bytes") for process in processes]
    importing = [process["import_seconds"] for process in processes]
    return {
        "samples_ns": gather("samples_ns", [*BOUNDARIES, *inner]),
        "stability": gather("stability"),
        "blocks": gather("blocks"),
        "interleaving": [process["interleaving"] for process in processes],
        "clock": last.get("clock", ""),
        "inner_clock": last.get("inner_clock", ""),
        "binding_ns": [binding for binding in bindings if binding is not None],
        "gpu": record_parts.gpus(processes),
        "warm_up": [process["warm_up"] for process in processes],
        "phases_seconds": {
            **record_parts.phases(processes),
            "prepare": [prepared.artifact.seconds] if prepared else [],
        },
        "import_seconds": [seconds for seconds in importing if seconds is not None],
        "process_seconds": [process["wall_seconds"] for process in processes],
        "memory": record_parts.peak_memory(processes),
        "steady_rss_bytes": [size for size in steady if size],
        "energy": energy.combined(processes),
    }


def _parity(processes: Sequence[Record], prepared: Prepared | None) -> dict[str, Any] | None:
    """The worst verdict over processes, with the digests of the timed artifact and inputs."""
    worst = record_parts.worst_parity(processes)
    if worst is None or prepared is None:
        return None
    digests = {name: processes[-1][name] for name in ("artifact_sha256", "input_sha256")}
    return {**worst, **digests}


def _provenance(prepared: Prepared | None) -> dict[str, Any]:
    """The prepared inputs and artifact, with their facts."""
    if prepared is None:
        nothing = dict.fromkeys(("inputs", "artifact", "prepare"))
        return {**record_parts.sources(None), **nothing}
    artifact, facts = prepared.artifact, prepared.inputs.facts
    return {
        **record_parts.sources(prepared),
        "inputs": {name: facts[name] for name in facts if name not in ("sha256", "code")},
        "artifact": {"bytes": artifact.bytes, "facts": artifact.facts},
        "prepare": {"seconds": artifact.seconds, "cached": artifact.cached},
    }
