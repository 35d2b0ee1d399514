"""Model files without a declaration: what `evenbench inspect` reads from an ONNX, TorchScript or
TensorRT file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.collection import availability, user_models
from harness.core import registry
from harness.core.cases import Entry
from harness.core.errors import UsageError
from harness.core.types import BATCH, PRECISIONS, Cell, Model, TensorSpec
from harness.core.weights import Weights
from harness.environment import cpu, system_info
from harness.runner import launcher
from harness.runner.child_process import shared_path
from harness.runner.job import Job, Reply

SCHEMA = 1
"""Raised when a key changes its meaning. `modelfile.schema.json` is the published schema."""

TIMEOUT_SECONDS = 300.0


def schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of what `evenbench inspect --json` says of a model
    file.
    """
    loaded: dict[str, Any] = json.loads(
        Path(__file__).with_name("modelfile.schema.json").read_text()
    )
    return loaded


def is_model(path: Path) -> bool:
    """Whether an existing file is to be read as a model: every one that does not begin as results
    do.
    """
    if not path.is_file() or path.suffix == ".jsonl":
        return False
    with path.open("rb") as stream:
        return not stream.read(64).lstrip().startswith(b"{")


def look(path: Path, shape: str = "", load: bool = True) -> dict[str, Any]:
    """Every fact about a model file, as `schema` says. `shape` is that of its inputs where the file
    does not tell.

    With `load`, the runtimes here that read such files load it, and tell what they made of it.
    Raises UsageError where it is no model file, or not a whole one.
    """
    if shape and not user_models.SHAPE.fullmatch(shape):
        raise UsageError(
            f"--shape {shape!r} is no shape; expected 1x3x224x224, or 1x3x224x224,1x10 for two inputs"
        )
    model = Model(
        user_models.worded(path.stem),
        file=str(path.resolve()),
        arguments={"shape": shape} if shape else {},
    )
    reply = _work(Job("inspect", Cell(model, "null", threads=cpu.cores())))
    if reply.value is None:
        raise UsageError(_explained(path, reply))
    facts = {"schema": SCHEMA, **reply.value, "file": str(path)}
    model = _declared(model, facts)
    prospects = _prospects(model)
    runtimes = _runtimes(model, prospects) if load and _is_closed(model) else {}
    return {**facts, "prospects": prospects, "runtimes": runtimes}


def _work(job: Job, timeout_seconds: float = TIMEOUT_SECONDS) -> Reply:
    variables = system_info.for_worker(
        job.cell.threads, dict(registry.find(job.cell.backend).variables(job.cell))
    )
    return launcher.run(Job(**{**vars(job), "sys_path": shared_path()}), variables, timeout_seconds)


def _explained(path: Path, reply: Reply) -> str:
    reason = reply.reason.removeprefix("UsageError: ").replace(str(path.resolve()), str(path))
    return reason if str(path) in reason else f"{path}: {reason}"


def _declared(model: Model, facts: Mapping[str, Any]) -> Model:
    """The model with the tensors that its file says, the first open size of each being the batch,
    as `evenbench run` has it.
    """
    if any(tensor["shape"] is None for tensor in (*facts["inputs"], *facts["outputs"])):
        return model
    return Model(
        model.name,
        inputs=_specs(facts["inputs"]),
        outputs=_specs(facts["outputs"]),
        inputs_from=user_models.RANDOM_INPUTS,
        calibration_from=user_models.RANDOM_CALIBRATION,
        weights=Weights("file", sha256=facts["sha256"]),
        file=model.file,
    )


def _specs(tensors: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(tensor["name"], _batched(tensor["shape"]), tensor["dtype"]) for tensor in tensors
    )


def _batched(shape: Sequence[int | str]) -> tuple[int | str, ...]:
    return (BATCH, *shape[1:]) if shape and not isinstance(shape[0], int) else tuple(shape)


def _is_closed(model: Model) -> bool:
    """Whether the file tells every size but the batch; a runtime cannot be given a tensor
    otherwise.
    """
    specs = (*model.inputs, *model.outputs)
    return bool(model.inputs) and all(
        size == BATCH or isinstance(size, int) for spec in specs for size in spec.shape
    )


def _prospects(model: Model) -> list[dict[str, Any]]:
    """What can be said of each backend, device and precision without running anything."""
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
        {key: found[key] for key in keys}
        for found in availability.prospects(Entry(cell, "", "") for cell in cells)
    ]


def _runtimes(model: Model, prospects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What every runtime that reads this file as it is, and is here, attests after one step on
    zeros.
    """
    found = {}
    for prospect in prospects:
        name = prospect["backend"]
        usable = (
            prospect["device"] == "cpu"
            and prospect["precision"] == "fp32"
            and not availability.prospect_note(prospect)
        )
        if usable and registry.find(name).portable_artifact and not registry.row(name).environment:
            with tempfile.TemporaryDirectory() as folder:
                reply = _work(Job("outlook", Cell(model, name, threads=cpu.cores()), folder=folder))
            found[name] = {
                "reason": reply.reason,
                "attested": dict(reply.value) if reply.value else None,
            }
    return found
