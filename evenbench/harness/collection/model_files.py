"""The report of `evenbench inspect` on a model file: facts, prospects of backends, and runtimes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbench.harness.collection import availability, model_reader
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.types import PRECISIONS, Cell, Model
from evenbench.harness.environment import cpu
from evenbench.harness.runner import launcher
from evenbench.harness.runner.job import Job

SCHEMA = 1
"""Raised when a key changes its meaning. `modelfile.schema.json` is the published schema."""

TIMEOUT_SECONDS = 300.0


def schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of `evenbench inspect --json` for a model file."""
    loaded: dict[str, Any] = json.loads(
        Path(__file__).with_name("modelfile.schema.json").read_text()
    )
    return loaded


def is_model(path: Path) -> bool:
    """Whether `evenbench inspect` reads a file as a model: any existing file but results."""
    if not path.is_file() or path.suffix == ".jsonl":
        return False
    with path.open("rb") as stream:
        return not stream.read(64).lstrip().startswith(b"{")


def describe(path: Path, shape: str = "", load: bool = True) -> dict[str, Any]:
    """Every fact about a model file, in the form of `schema`.

    `shape` is the shape of the inputs, for formats without declared shapes. With `load`, every
    runtime for the format loads the file and attests. Raises UsageError for a
    damaged or unknown file.
    """
    model_reader.check_shape(shape)
    model, facts = model_reader.read_file(path, shape, TIMEOUT_SECONDS)
    prospects = _prospects(model)
    runtimes = _runtimes(model, prospects) if load and _is_closed(model) else {}
    report = {"schema": SCHEMA, **facts, "file": str(path)}
    return {**report, "prospects": prospects, "runtimes": runtimes}


def _is_closed(model: Model) -> bool:
    """Whether all sizes except the batch are known, as needed for making inputs."""
    specs = (*model.inputs, *model.outputs)
    return bool(model.inputs) and not any(map(model_reader.unknown_size, specs))


def _prospects(model: Model) -> list[dict[str, Any]]:
    """The prospects of all backends, devices and precisions, without running any."""
    cells = [
        Cell(model, name, precision, device, threads=cpu.cores())
        for name, row in registry.rows().items()
        if row.role == "runtime" and row.runs == "networks"
        for device in ("cpu", "cuda")
        if device in registry.find(name).devices
        for precision in PRECISIONS
    ]
    keys = ("backend", "device", "precision", "unsupported", "missing", "homeless", "hint", "lacks")
    return [
        {key: prospect[key] for key in keys}
        for prospect in availability.prospects(Entry(cell, "", "") for cell in cells)
    ]


def _runtimes(model: Model, prospects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The attestations of installed runtimes for the unchanged file, after a step on zeros."""
    names = [prospect["backend"] for prospect in prospects if _loads_unchanged(prospect)]
    return {name: _attested(model, name) for name in names}


def _loads_unchanged(prospect: Mapping[str, Any]) -> bool:
    name = prospect["backend"]
    return (
        (prospect["device"], prospect["precision"]) == ("cpu", "fp32")
        and not availability.prospect_note(prospect)
        and registry.find(name).portable_artifact
        and not registry.row(name).environment
    )


def _attested(model: Model, name: str) -> dict[str, Any]:
    cell = Cell(model, name, threads=cpu.cores())
    with tempfile.TemporaryDirectory() as folder:
        job = Job("outlook", cell, folder=folder)
        variables = registry.find(name).variables(cell)
        reply = launcher.run_here(job, TIMEOUT_SECONDS, variables)
    return {
        "reason": reply.reason,
        "attested": dict(reply.value) if reply.value else None,
    }
