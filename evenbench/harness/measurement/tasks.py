"""The tasks of a worker process. A task takes a `Job` and a `Channel` and returns JSON values.

Modules that import numpy or judge outputs are imported inside the functions: a process loads only
the modules of its own task.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenbench.harness.core import build_sources, registry
from evenbench.harness.core.backend import Source
from evenbench.harness.core.types import to_json
from evenbench.harness.inputs import batches, element_types
from evenbench.harness.runner.job import Channel, Job, Measurement, SourceDigests


def describe(job: Job, channel: Channel) -> dict[str, Any]:
    """The input and output tensors of a user's own model, and facts of its example inputs."""
    golden = registry.golden_for(job.cell)
    described = golden.described(job.cell.model)
    return to_json({**described, "examples": golden.examples(job.cell.model)})  # type: ignore[no-any-return]


def examine(job: Job, channel: Channel) -> dict[str, Any]:
    """The Python and packages of this interpreter, and the backend's missing requirements."""
    from evenbench.harness.environment import system_info

    backend = registry.find(job.cell.backend)
    missing = list(backend.missing())
    lacks = "" if missing else backend.lacks(job.cell)
    return {
        "missing": missing,
        "lacks": lacks,
        "python": system_info.python(),
        "packages": system_info.installed(),
    }


def inspect(job: Job, channel: Channel) -> dict[str, Any]:
    """The contents of a model file."""
    return registry.describe_file(job.cell.model)


def outlook(job: Job, channel: Channel) -> dict[str, Any]:
    """A runtime's attestation of a model file after a step on zeros, with every node's device."""
    import numpy as np

    cell, folder = job.cell, Path(job.folder)
    backend, weights, artifact = (
        registry.find(cell.backend),
        folder / "weights",
        folder / "artifact",
    )
    weights.mkdir()
    artifact.mkdir()
    facts = registry.golden_for(cell).materialise(cell.model, {}, weights)
    backend.prepare(Source(cell.model, weights, facts["sha256"], {}), cell, artifact)
    session = backend.load(artifact, cell)
    try:
        specs = cell.model.inputs
        session.bind(
            {
                spec.name: np.zeros(spec.concrete(cell.batch), element_types.dtype_of(spec.dtype))
                for spec in specs
            }
        )
        session.step()
        session.sync()
        return to_json(session.attest())  # type: ignore[no-any-return]
    finally:
        session.close()


def peaks(job: Job, channel: Channel) -> dict[str, Any]:
    """The machine's peak arithmetic and memory throughput; the payload is seconds per kernel."""
    return registry.peaks(job.cell, job.payload)


def inputs(job: Job, channel: Channel) -> dict[str, Any]:
    """Make the cell's input batches."""
    build_sources.start(job.cell.model)
    return batches.make(job.cell.model, job.cell.batch, Path(job.folder))


def calibration(job: Job, channel: Channel) -> dict[str, Any]:
    """Make the calibration samples of int8-static."""
    build_sources.start(job.cell.model)
    return batches.make_calibration(job.cell.model, job.cell.batch, Path(job.folder))


def weights(job: Job, channel: Channel) -> dict[str, Any]:
    """Make the model's weights."""
    model = job.cell.model
    build_sources.start(model)
    facts = registry.golden_for(job.cell).materialise(
        model, _files(job, "inputs"), Path(job.folder)
    )
    return {"code": build_sources.recorded(model), **facts}


def prepare(job: Job, channel: Channel) -> dict[str, Any]:
    """Export, convert or compile the cell's artifact."""
    return dict(registry.find(job.cell.backend).prepare(_source(job), job.cell, Path(job.folder)))


def tune(job: Job, channel: Channel) -> dict[str, Any]:
    """Add tuning trials for the cell's artifact."""
    return dict(registry.tunable(job.cell.backend).tune(_source(job), job.cell, job.payload.trials))


def golden(job: Job, channel: Channel) -> dict[str, Any]:
    """Make the golden outputs; the payload maps precisions to folders of yardstick artifacts."""
    from evenbench.harness.measurement import golden as maker

    folders = _paths(job)
    yardsticks = {precision: Path(path) for precision, path in job.payload.items()}
    judge = registry.golden_for(job.cell)
    return maker.make_golden(
        job.cell, judge, folders["artifact"], folders["inputs"], yardsticks, Path(job.folder)
    )


def measure(job: Job, channel: Channel) -> dict[str, Any]:
    """Keep the cell resident, take laps as the parent asks, and judge at the end."""
    from evenbench.harness.accuracy import evaluation
    from evenbench.harness.measurement import resident

    payload: Measurement = job.payload
    folders = _paths(job)
    score = evaluation.scorer(job.cell, payload.dataset, folders, Path(job.folder))
    commands, tell = channel.commands(), channel.tell
    return resident.run(
        job.cell, payload.plan, folders, channel.enter, score, commands, tell, payload.pauses
    )


def profile(job: Job, channel: Channel) -> dict[str, Any]:
    """Profile one inference with the runtime's own profiler."""
    from evenbench.harness.measurement import timing

    batch = batches.load(Path(job.folders["inputs"]), job.cell.model)[0]
    backend = registry.find(job.cell.backend)
    for name in backend.requires:
        importlib.import_module(name)
    profile = backend.profile(Path(job.folders["artifact"]), job.cell, batch, timing.CLOCK)
    return to_json(profile)  # type: ignore[no-any-return]


def dataset(job: Job, channel: Channel) -> dict[str, Any]:
    """Make a labelled dataset, the payload, into the model's input batches."""
    from evenbench.harness.inputs import dataset_batches

    return dataset_batches.make(job.payload, job.cell.model, Path(job.folder))


def score(job: Job, channel: Channel) -> Mapping[str, Any]:
    """Score the detections written by a measured process."""
    from evenbench.harness.accuracy import evaluation

    folders = _paths(job)
    return evaluation.of_objects(folders["dataset"], folders["detections"])


def expose(job: Job, channel: Channel) -> dict[str, Any]:
    """Make an artifact with fetchable intermediate tensors; the payload names the tensors."""
    from evenbench.harness.accuracy import tensor_capture

    return tensor_capture.expose(job.cell, job.payload, _paths(job), Path(job.folder))


def watch(job: Job, channel: Channel) -> dict[str, Any]:
    """Fetch the intermediate tensors that the payload names, and write the values to files."""
    from evenbench.harness.accuracy import tensor_capture

    return tensor_capture.watch(job.cell, job.payload, _paths(job), Path(job.folder))


def _paths(job: Job) -> dict[str, Path]:
    return {name: Path(path) for name, path in job.folders.items()}


def _files(job: Job, folder: str) -> dict[str, Path]:
    """The file of each model input in a folder of the job; empty without this folder."""
    if folder not in job.folders:
        return {}
    return {
        spec.name: Path(job.folders[folder]) / batches.file_of(spec.name)
        for spec in job.cell.model.inputs
    }


def _source(job: Job) -> Source:
    digests: SourceDigests = job.payload or SourceDigests()
    weights_folder = Path(job.folders.get("weights", os.devnull))
    samples = _files(job, "calibration")
    return Source(
        job.cell.model,
        weights_folder,
        digests.weights,
        _files(job, "inputs"),
        samples,
        digests.calibration,
    )
