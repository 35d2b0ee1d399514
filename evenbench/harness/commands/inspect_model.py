"""The facts about a model file as sections of text for `evenbench inspect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.harness.collection import availability
from evenbench.harness.commands.inspect_results import Section
from evenbench.harness.core import registry

CHANGES_SHOWN = 12
OPERATORS_SHOWN = 40


def sections(facts: Mapping[str, Any]) -> list[Section]:
    """Return the facts as sections."""
    return [
        ("model", _head(facts)),
        ("inputs", [_tensor(tensor) for tensor in facts["inputs"]]),
        ("outputs", [_tensor(tensor) for tensor in facts["outputs"]]),
        (
            "metadata",
            [(name.replace("_", " "), value) for name, value in facts["metadata"].items()],
        ),
        ("work", _work_rows(facts["flops"])),
        ("operators", _operator_rows(facts["operators"])),
        ("precision", _precision_rows(facts)),
        ("details", [(name.replace("_", " "), value) for name, value in facts["details"].items()]),
        ("could run; fp32 is the unchanged file", _prospect_rows(facts["prospects"])),
        *((f"in {name}", _runtime_rows(loaded)) for name, loaded in facts["runtimes"].items()),
        ("notes", [("", note) for note in facts["notes"]]),
    ]


def _head(facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    from evenbench.reports import formatting

    parameters = facts["parameters"]
    types = ", ".join(
        f"{dtype} {entry['count']:,} in {formatting.size(entry['bytes'])}"
        for dtype, entry in parameters["by_dtype"].items()
    )
    return [
        ("file", facts["file"]),
        ("format", facts["format"]),
        ("size", formatting.size(facts["bytes"])),
        ("sha256", facts["sha256"]),
        ("made by", facts["made_by"]),
        ("opset", ", ".join(f"{domain} {version}" for domain, version in facts["opset"].items())),
        (
            "parameters",
            f"{parameters['count']:,} ({types})"
            if parameters["count"] is not None
            else "unknown in this format",
        ),
        ("weights in", ", ".join(facts["external_data"])),
    ]


def _tensor(tensor: Mapping[str, Any]) -> tuple[str, str]:
    shape = "of unknown shape" if tensor["shape"] is None else str(tensor["shape"])
    return tensor["name"], f"{tensor['dtype']} {shape}".strip()


def _work_rows(flops: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if flops["total"] is None:
        return [("FLOPs", f"not counted: {flops['why_not']}")]
    return [
        ("FLOPs", f"{flops['total']:,}"),
        *((f"  {operator}", f"{count:,}") for operator, count in flops["by_operator"].items()),
        (
            "not counted",
            ", ".join(f"{count} {operator}" for operator, count in flops["uncounted"].items()),
        ),
        ("what counts", flops["rule"]),
    ]


def _operator_rows(operators: Mapping[str, int]) -> list[tuple[str, Any]]:
    shown = list(operators.items())[:OPERATORS_SHOWN]
    rest = sum(operators.values()) - sum(count for _, count in shown)
    return [
        *((name, str(count)) for name, count in shown),
        *([("others", str(rest))] if rest else []),
    ]


def _precision_rows(facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    changes = facts["precision_changes"]
    counts: dict[str, int] = {}
    for change in changes:
        way = f"{change['from']} -> {change['to']}, {change['of']}, {change['operator']}"
        counts[way] = counts.get(way, 0) + 1
    named = [
        change["node"] for change in changes if change["node"] and change["of"] == "activations"
    ]
    more = f" and {len(named) - CHANGES_SHOWN} more" if len(named) > CHANGES_SHOWN else ""
    nodes = ("changes at", ", ".join(named[:CHANGES_SHOWN]) + more)
    return [
        ("computes in", facts["computes_in"]),
        *((way, f"{count} times") for way, count in counts.items()),
        nodes,
    ]


def _prospect_rows(prospects: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """Return a row per backend and device: precisions able to run, then the others by reason."""
    by_device: dict[tuple[str, str], dict[str, list[str]]] = {}
    for prospect in prospects:
        if prospect["precision"] not in registry.find(prospect["backend"]).precisions:
            continue
        note = availability.prospect_note(prospect)
        by_device.setdefault((prospect["backend"], prospect["device"]), {}).setdefault(
            note, []
        ).append(prospect["precision"])
    return [
        (f"{backend} {device}", _by_reason(reasons))
        for (backend, device), reasons in by_device.items()
    ]


def _by_reason(reasons: Mapping[str, list[str]]) -> str:
    if len(reasons) == 1:
        (note, precisions), *_ = reasons.items()
        return note or ", ".join(precisions)
    yes = ", ".join(reasons.get("", []))
    return "; ".join(
        filter(
            None, [yes, *(f"{', '.join(names)}: {note}" for note, names in reasons.items() if note)]
        )
    )


def _runtime_rows(loaded: Mapping[str, Any]) -> list[tuple[str, Any]]:
    attested = loaded["attested"]
    if not attested:
        return [("not loaded", loaded["reason"])]
    graph = attested["details"].get("graph") or {}
    return [
        ("runtime", f"{attested['runtime']} {attested['version']}"),
        (
            "runs in",
            attested["precision"] + (f" ({attested['emulated']})" if attested["emulated"] else ""),
        ),
        (
            "placement",
            ", ".join(f"{count} on {where}" for where, count in attested["placement"].items()),
        ),
        (
            "nodes",
            f"{graph['nodes_before']} -> {graph['nodes_after']}" if "nodes_before" in graph else "",
        ),
        *((way, f"{count} times") for way, count in (graph.get("fused") or {}).items()),
        (
            "folded away",
            ", ".join(
                f"{count} {operator}" for operator, count in (graph.get("removed") or {}).items()
            ),
        ),
        (
            "added",
            ", ".join(
                f"{count} {operator}" for operator, count in (graph.get("added") or {}).items()
            ),
        ),
        ("fusions", graph.get("fused_unknown", "")),
        ("labels", attested["labels"]),
    ]
