"""What is known of a model file: what it says itself, which cells of it could run, and what runtimes here make of its graph.

Nothing heavy is imported here: a worker reads the file, and another one loads it into each runtime that takes it. A file that
crashes its reader is an error in words.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import environment, inspection, machine, registry, usermodel, worker
from harness.inspection import Section
from harness.outcome import Entry
from harness.preparation import shared_path
from harness.types import BATCH, PRECISIONS, Cell, Model, TensorSpec, UsageError, Weights
from harness.worker import Job, Reply

SCHEMA = 1
"""Raised when a key changes its meaning. `modelfile.schema.json` is the published schema."""

TIMEOUT_SECONDS = 300.0
CHANGES_SHOWN = 12
OPERATORS_SHOWN = 40


def schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of what `evenbench inspect --json` says of a model file."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("modelfile.schema.json").read_text())
    return loaded


def is_model(path: Path) -> bool:
    """Whether an existing file is to be read as a model: every one that does not begin as results do."""
    if not path.is_file() or path.suffix == ".jsonl":
        return False
    with path.open("rb") as stream:
        return not stream.read(64).lstrip().startswith(b"{")


def look(path: Path, shape: str = "", load: bool = True) -> dict[str, Any]:
    """Every fact about a model file, as `schema` says. `shape` is that of its inputs where the file does not tell.

    With `load`, the runtimes here that read such files load it, and tell what they made of it. Raises UsageError where it
    is no model file, or not a whole one.
    """
    if shape and not usermodel.SHAPE.fullmatch(shape):
        raise UsageError(f"--shape {shape!r} is no shape; expected 1x3x224x224, or 1x3x224x224,1x10 for two inputs")
    model = Model(usermodel.worded(path.stem), file=str(path.resolve()), arguments={"shape": shape} if shape else {})
    reply = _work(Job("inspect", Cell(model, "null", threads=machine.cores())))
    if reply.value is None:
        raise UsageError(_explained(path, reply))
    facts = {"schema": SCHEMA, **reply.value, "file": str(path)}
    model = _declared(model, facts)
    prospects = _prospects(model)
    runtimes = _runtimes(model, prospects) if load and _is_closed(model) else {}
    return {**facts, "prospects": prospects, "runtimes": runtimes}


def _work(job: Job, timeout_seconds: float = TIMEOUT_SECONDS) -> Reply:
    variables = environment.for_worker(job.cell.threads, dict(registry.find(job.cell.backend).variables(job.cell)))
    return worker.run(Job(**{**vars(job), "sys_path": shared_path()}), variables, timeout_seconds)


def _explained(path: Path, reply: Reply) -> str:
    reason = reply.reason.removeprefix("UsageError: ").replace(str(path.resolve()), str(path))
    return reason if str(path) in reason else f"{path}: {reason}"


def _declared(model: Model, facts: Mapping[str, Any]) -> Model:
    """The model with the tensors that its file says, the first open size of each being the batch, as `evenbench run` has it."""
    if any(tensor["shape"] is None for tensor in (*facts["inputs"], *facts["outputs"])):
        return model
    return Model(
        model.name,
        inputs=_specs(facts["inputs"]),
        outputs=_specs(facts["outputs"]),
        inputs_from=usermodel.RANDOM_INPUTS,
        calibration_from=usermodel.RANDOM_CALIBRATION,
        weights=Weights("file", sha256=facts["sha256"]),
        file=model.file,
    )


def _specs(tensors: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(tensor["name"], _batched(tensor["shape"]), tensor["dtype"]) for tensor in tensors)


def _batched(shape: Sequence[int | str]) -> tuple[int | str, ...]:
    return (BATCH, *shape[1:]) if shape and not isinstance(shape[0], int) else tuple(shape)


def _is_closed(model: Model) -> bool:
    """Whether the file tells every size but the batch; a runtime cannot be given a tensor otherwise."""
    specs = (*model.inputs, *model.outputs)
    return bool(model.inputs) and all(size == BATCH or isinstance(size, int) for spec in specs for size in spec.shape)


def _prospects(model: Model) -> list[dict[str, Any]]:
    """What can be said of each backend, device and precision without running anything."""
    cells = [
        Cell(model, name, precision, device, threads=machine.cores())
        for name, row in registry.rows().items()
        if row.role == "runtime" and row.runs == "networks"
        for device in ("cpu", "cuda")
        if device in registry.find(name).devices
        for precision in PRECISIONS
    ]
    keys = ("backend", "device", "precision", "unsupported", "missing", "homeless", "hint", "lacks")
    return [{key: found[key] for key in keys} for found in inspection.prospects(Entry(cell, "", "") for cell in cells)]


def _runtimes(model: Model, prospects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What every runtime that reads this file as it is, and is here, attests after one step on zeros."""
    found = {}
    for prospect in prospects:
        name = prospect["backend"]
        usable = prospect["device"] == "cpu" and prospect["precision"] == "fp32" and not inspection.prospect_note(prospect)
        if usable and registry.find(name).portable_artifact and not registry.row(name).environment:
            with tempfile.TemporaryDirectory() as folder:
                reply = _work(Job("outlook", Cell(model, name, threads=machine.cores()), folder=folder))
            found[name] = {"reason": reply.reason, "attested": dict(reply.value) if reply.value else None}
    return found


# -- for people ------------------------------------------------------------------------------------------------------


def sections(facts: Mapping[str, Any]) -> list[Section]:
    """The same facts, laid out for people."""
    return [
        ("model", _head(facts)),
        ("inputs", [_tensor(tensor) for tensor in facts["inputs"]]),
        ("outputs", [_tensor(tensor) for tensor in facts["outputs"]]),
        ("metadata", [(name.replace("_", " "), value) for name, value in facts["metadata"].items()]),
        ("work", _work_rows(facts["flops"])),
        ("operators", _operator_rows(facts["operators"])),
        ("precision", _precision_rows(facts)),
        ("details", [(name.replace("_", " "), value) for name, value in facts["details"].items()]),
        ("could run; fp32 is the file as it is", _prospect_rows(facts["prospects"])),
        *((f"in {name}", _runtime_rows(found)) for name, found in facts["runtimes"].items()),
        ("notes", [("", note) for note in facts["notes"]]),
    ]


def _head(facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    from reports import text

    parameters = facts["parameters"]
    types = ", ".join(f"{dtype} {entry['count']:,} in {text.size(entry['bytes'])}" for dtype, entry in parameters["by_dtype"].items())
    return [
        ("file", facts["file"]),
        ("format", facts["format"]),
        ("size", text.size(facts["bytes"])),
        ("sha256", facts["sha256"]),
        ("made by", facts["made_by"]),
        ("opset", ", ".join(f"{domain} {version}" for domain, version in facts["opset"].items())),
        ("parameters", f"{parameters['count']:,} ({types})" if parameters["count"] is not None else "not told by this format"),
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
        ("not counted", ", ".join(f"{count} {operator}" for operator, count in flops["uncounted"].items())),
        ("what counts", flops["rule"]),
    ]


def _operator_rows(operators: Mapping[str, int]) -> list[tuple[str, Any]]:
    shown = list(operators.items())[:OPERATORS_SHOWN]
    rest = sum(operators.values()) - sum(count for _, count in shown)
    return [*((name, str(count)) for name, count in shown), *([("others", str(rest))] if rest else [])]


def _precision_rows(facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    changes = facts["precision_changes"]
    counts: dict[str, int] = {}
    for change in changes:
        way = f"{change['from']} -> {change['to']}, {change['of']}, {change['operator']}"
        counts[way] = counts.get(way, 0) + 1
    named = [change["node"] for change in changes if change["node"] and change["of"] == "activations"]
    more = f" and {len(named) - CHANGES_SHOWN} more" if len(named) > CHANGES_SHOWN else ""
    nodes = ("changes at", ", ".join(named[:CHANGES_SHOWN]) + more)
    return [("computes in", facts["computes_in"]), *((way, f"{count} times") for way, count in counts.items()), nodes]


def _prospect_rows(prospects: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """A row for each backend and device: the precisions that could run, then by their reason those others that the backend has."""
    told: dict[tuple[str, str], dict[str, list[str]]] = {}
    for prospect in prospects:
        if prospect["precision"] not in registry.find(prospect["backend"]).precisions:
            continue
        note = inspection.prospect_note(prospect)
        told.setdefault((prospect["backend"], prospect["device"]), {}).setdefault(note, []).append(prospect["precision"])
    return [(f"{backend} {device}", _by_reason(reasons)) for (backend, device), reasons in told.items()]


def _by_reason(reasons: Mapping[str, list[str]]) -> str:
    if len(reasons) == 1:
        (note, precisions), *_ = reasons.items()
        return note or ", ".join(precisions)
    yes = ", ".join(reasons.get("", []))
    return "; ".join(filter(None, [yes, *(f"{', '.join(found)}: {note}" for note, found in reasons.items() if note)]))


def _runtime_rows(found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    attested = found["attested"]
    if not attested:
        return [("not loaded", found["reason"])]
    graph = attested["details"].get("graph") or {}
    return [
        ("runtime", f"{attested['runtime']} {attested['version']}"),
        ("runs in", attested["precision"] + (f" ({attested['emulated']})" if attested["emulated"] else "")),
        ("placement", ", ".join(f"{count} on {where}" for where, count in attested["placement"].items())),
        ("nodes", f"{graph['nodes_before']} -> {graph['nodes_after']}" if "nodes_before" in graph else ""),
        *((way, f"{count} times") for way, count in (graph.get("fused") or {}).items()),
        ("folded away", ", ".join(f"{count} {operator}" for operator, count in (graph.get("removed") or {}).items())),
        ("added", ", ".join(f"{count} {operator}" for operator, count in (graph.get("added") or {}).items())),
        ("fusions", graph.get("fused_unknown", "")),
        ("labels", attested["labels"]),
    ]
