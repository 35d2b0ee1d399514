"""Details of one cell, as headed lists of label and text, for the dialog of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evenbench.harness.core.types import BOUNDARIES, COMPUTE
from evenbench.reports import cell_texts, formatting, result_groups, verdict, warning_kinds
from evenbench.reports.result_groups import Group, Record, Result
from evenbench.reports.sections import (
    binding_cost,
    divergences,
    models,
    operators,
    resources,
    roofline,
    task_agreement,
    tuning,
)

Facts = list[tuple[str, str]]

BOUNDARY_NAMES = {"compute": "Compute", "host_to_host": "Host to host"}


def describe(group: Group, result: Result) -> dict[str, Any]:
    """Return the details of a cell as JSON: title, sections, warnings, command and traceback."""
    record = result.record
    sections = (
        ("Outcome", _outcome(group, result)),
        *((BOUNDARY_NAMES[boundary], _timing(result, boundary)) for boundary in BOUNDARIES),
        ("Limit", roofline.described(result)),
        ("Parity", _parity(record)),
        ("Agreement", _known(task_agreement.described(record))),
        ("Attestation of the runtime", _attested(record)),
        ("Artifact", _artifact(record)),
        ("Model", models.described(result)),
        ("Weights and inputs", _origin(record)),
    )
    return {
        "id": str(result.cell.get("id", "")),
        "sections": [(title, facts) for title, facts in sections if facts],
        "warnings": warning_kinds.of_cell(result),
        "profile": operators.described(record),
        "reproduce": str(record.get("reproduce") or ""),
        "traceback": str(record.get("traceback") or ""),
    }


def _left_out(group: Group, result: Result) -> str:
    """Sweeps without a part in the speed-up, each with the stalled cell."""
    if group.baseline is None or not result.ranks or result is group.baseline:
        return ""
    known = group.comparison(group.baseline, result).ratio
    names = {"slower": group.baseline.name, "faster": result.name}
    apart = known.apart if known else {}
    return ", ".join(f"{sweep}: {names[side]} stalled" for sweep, side in apart.items())


def _outcome(group: Group, result: Result) -> Facts:
    record = result.record
    facts = [
        ("outcome", result.outcome),
        ("reason", cell_texts.reason(group, result)),
        ("phase", record.get("phase")),
        ("signal", record.get("signal")),
        ("what to do", record.get("hint")),
        ("setting", verdict.setting(group)),
        ("sweeps left out of the speed-up", _left_out(group, result)),
        ("options", result.cell.get("options")),
        ("case", record.get("case")),
        ("run", result.run),
        ("recorded", record.get("time")),
        ("cell key", result.cell.get("key")),
    ]
    return _known(facts)


def _timing(result: Result, boundary: str) -> Facts:
    laps = result_groups.laps_of(result.record, boundary)
    if not laps:
        return []
    estimate = result.compute if boundary == COMPUTE else result.host_to_host
    facts: list[tuple[str, Any]] = [
        (
            "level",
            formatting.with_interval(
                formatting.latency(estimate), formatting.latency_interval(estimate)
            ),
        ),
        *((f"p{round(q * 100)}", _percentile(result, boundary, q)) for q in (0.5, 0.9, 0.99)),
        ("percentiles are of", cell_texts.calls(result)),
        ("laps per process", [len(process) for process in laps]),
        ("settled", (result.record.get("stability") or {}).get(boundary)),
        ("machine during the laps", _disturbance(result.record, boundary)),
        ("clock", result.record.get("clock")),
        *(_from_within(result) if boundary == COMPUTE else []),
    ]
    return _known(facts, keep=("p50", "p90", "p99"))


def _from_within(result: Result) -> list[tuple[str, Any]]:
    """Times of the same laps by a second clock, and the cost of the call."""
    return [
        ("time inside", binding_cost.inside(result)),
        ("inner clock", result.record.get("inner_clock")),
        ("binding", binding_cost.cost(result)),
    ]


def _percentile(result: Result, boundary: str, q: float) -> str:
    value = result.percentile(boundary, q)
    return formatting.duration(value) if value is not None else f"{formatting.DASH} (too few laps)"


def _disturbance(record: Record, boundary: str) -> str:
    blocks = [
        block for process in (record.get("blocks") or {}).get(boundary) or [] for block in process
    ]
    words = {
        "preemptions": "preemption",
        "major_faults": "major fault",
        "steal_ticks": "steal tick",
    }
    sums = {key: sum(int(block.get(key) or 0) for block in blocks) for key in words}
    return (
        ", ".join(formatting.count(sums[key], word) for key, word in words.items())
        if blocks
        else ""
    )


def _parity(record: Record) -> Facts:
    parity = record.get("parity")
    if not parity:
        return []
    rtol, atol = (formatting.number(parity.get(name)) for name in ("rtol", "atol"))
    factor = formatting.plain(parity.get("rmse_factor"))
    facts: list[tuple[str, Any]] = [
        ("verdict", parity.get("verdict")),
        ("reason", parity.get("reason")),
        ("golden", parity.get("golden")),
        (
            "needed / allowed",
            " / ".join(formatting.number(parity.get(name)) for name in ("needed", "allowed")),
        ),
        (
            "rule",
            f"rtol {rtol}, atol {atol} of the output's scale; "
            f"RMSE at most {factor} times its own precision's",
        ),
        *(
            (f"output {output.get('name')}", _output(output))
            for output in parity.get("outputs") or []
        ),
        ("accuracy", record.get("accuracy")),
        ("labelled data", record.get("dataset")),
        *divergences.described(record),
    ]
    return _known(facts)


def _output(output: Record) -> str:
    names = {
        "scale": "scale",
        "max_abs": "largest error",
        "rmse": "RMSE",
        "rmse_own": "own RMSE",
        "cosine": "cosine",
    }
    parts = [
        f"{name} {formatting.number(output.get(key), 6 if key == 'cosine' else 2)}"
        for key, name in names.items()
    ]
    return ", ".join([*parts, f"{output.get('nonfinite', 0)} not finite"])


def _attested(record: Record) -> Facts:
    attested = record.get("attested") or {}
    placement = attested.get("placement") or {}
    keys = (
        "device",
        "precision",
        "threads",
        "denormals",
        "spinning",
        "providers",
        "labels",
        "details",
    )
    facts: list[tuple[str, Any]] = [
        ("runtime", f"{attested.get('runtime', '')} {attested.get('version', '')}".strip())
    ]
    facts += [(key, attested.get(key)) for key in keys]
    facts.append(
        (
            "placement",
            ", ".join(
                f"{formatting.count(nodes, 'node')} on {device}"
                for device, nodes in placement.items()
            ),
        )
    )
    return _known(facts)


def _artifact(record: Record) -> Facts:
    artifact = record.get("artifact") or {}
    peaks = (record.get("memory") or {}).get("peak_rss_bytes") or []
    facts: list[tuple[str, Any]] = [
        ("size", formatting.size(artifact["bytes"]) if artifact.get("bytes") else ""),
        ("sha256", record.get("artifact_sha256")),
        (
            "facts",
            tuning.readable(
                {
                    name: value
                    for name, value in (artifact.get("facts") or {}).items()
                    if name != "model"
                }
            ),
        ),
        ("peak memory per process", [formatting.size(peak) for peak in peaks]),
        (
            "resident after the laps",
            [formatting.size(kept) for kept in record.get("steady_rss_bytes") or []],
        ),
        ("energy of one inference", _energy(record)),
    ]
    return _known(facts)


def _energy(record: Record) -> str:
    """Energy of one inference with all counters, and gaps; empty if energy was not requested."""
    used = record.get("energy")
    joules = resources.joules_per_inference(record)
    known = [f"{formatting.number(joules)}{formatting.SPACE}J"] if joules is not None else []
    return "; ".join([*known, str(used.get("reason") or "")]).strip("; ") if used else ""


def _origin(record: Record) -> Facts:
    weights, inputs = record.get("weights") or {}, record.get("inputs") or {}
    facts: list[tuple[str, Any]] = [
        ("input", inputs.get("recipe")),
        ("input sha256", record.get("input_sha256")),
        ("weights", weights.get("note") or weights.get("source")),
        ("weights sha256", weights.get("sha256")),
    ]
    return _known(facts)


def _known(facts: list[tuple[str, Any]], keep: tuple[str, ...] = ()) -> Facts:
    return list(_shown(facts, keep))


def _shown(facts: list[tuple[str, Any]], keep: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for label, value in facts:
        shown = formatting.plain(value)
        if shown != formatting.DASH or label in keep:
            yield label, shown
