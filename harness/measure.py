"""The story of one process: load, first step, warm up, sample, attest, judge. Runs inside a worker."""

from __future__ import annotations

import importlib
import json
import math
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import energy, environment, gpu, inputs, parity, registry, store, timing
from harness.backend import Backend, Golden, Session
from harness.installers import distribution_of
from harness.types import BOUNDARIES, COMPUTE, Attestation, Cell, Model, ParityVerdict, Plan, to_json

if TYPE_CHECKING:
    from harness.backend import Arrays


class PhaseError(Exception):
    """Wraps what went wrong with the name of the phase it went wrong in."""

    def __init__(self, phase: str, error: BaseException) -> None:
        super().__init__(str(error))
        self.phase = phase
        self.error = error


class Stopwatch:
    """Seconds by phase; an exception inside a phase leaves it as a PhaseError. `enter` is told each phase as it begins."""

    def __init__(self, enter: Callable[[str], None] = lambda phase: None) -> None:
        self.seconds: dict[str, float] = {}
        self.enter = enter

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.enter(name)
        begin = time.perf_counter()
        try:
            yield
        except Exception as error:
            raise PhaseError(name, error) from error
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin


def run(
    cell: Cell,
    plan: Plan,
    artifact: Path,
    input_folder: Path,
    golden: Path | None,
    enter: Callable[[str], None] = lambda phase: None,
    score: Callable[[Session], Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Measure one cell once, in this process; returns what `schedule` merges with the other processes of the cell.

    `golden` is the folder of golden outputs, or None for a control, which has no answer to check. `enter` is told each
    phase as it begins. `score` is called with the session after it was timed; what it says is `scored`.
    """
    watch = Stopwatch(enter)
    batches = inputs.load(input_folder, cell.model)
    session, import_seconds = load(cell, artifact, watch)
    try:
        measured, kept = _timed(session, batches, plan, watch, cell.device)
        measured["peak_rss_bytes"] = peak_rss_bytes(session)
        measured["steady_rss_bytes"] = steady_rss_bytes(session)
        attested = session.attest()
        with watch.phase("parity"):
            measured["accuracy"] = accuracy(session, cell, input_folder)
            measured["parity"] = judge(cell, kept, golden, measured["accuracy"]) if golden else None
        measured["scored"] = score(session) if score else None
    finally:
        session.close()
    watch.seconds["compile"] = session.compile_seconds
    loading = watch.seconds["load"] - import_seconds - session.compile_seconds
    watch.seconds["load"] = max(0.0, loading)  # two clock readings apart where nothing is imported
    return {
        **measured,
        **provenance(cell, attested, {"artifact": artifact, "inputs": input_folder}, watch),
        "import_seconds": import_seconds,
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
    }


def load(cell: Cell, artifact: Path, watch: Stopwatch) -> tuple[Session, float]:
    """A session of the cell's artifact, and the seconds that importing its runtime took; `watch` has both as the phase `load`."""
    backend = registry.find(cell.backend)
    begin = time.perf_counter()
    with watch.phase("load"):
        for name in backend.requires:
            importlib.import_module(name)
        import_seconds = time.perf_counter() - begin
        return backend.load(artifact, cell), import_seconds


def first_step(session: Session, batch: Arrays, watch: Stopwatch) -> None:
    """The one inference that everything cold is paid in, as a phase of that name."""
    with watch.phase("first_step"):
        session.bind(batch)
        session.step()
        session.sync()


def provenance(
    cell: Cell, attested: Attestation, folders: Mapping[str, Path], watch: Stopwatch, distributions: Sequence[str] = ()
) -> dict[str, Any]:
    """What a record says of the process that made it: what ran, from which files, how long each phase took, on what installation.

    `folders` are those of the artifact and the inputs; `distributions` are recorded besides the backend's own.
    """
    files = {spec.name: folders["inputs"] / inputs.file_of(spec.name) for spec in cell.model.inputs}
    recorded = (*_distributions(registry.find(cell.backend)), *distributions)
    return {
        # Read back from the folders that were loaded, so that what was judged is proved to be what was timed.
        "artifact_sha256": store.digest_folder(folders["artifact"]),
        "input_sha256": inputs.digest_batches(files),
        "attested": to_json(attested),
        "asked_is_used": difference(cell, attested),
        "phases_seconds": watch.seconds,
        "installation": {"python": environment.python(), "packages": environment.packages(recorded)},
        "variables": environment.relevant_variables(),
        "machine": environment.load(),
    }


def peak_rss_bytes(session: Session) -> int:
    """Of the process that computes: this one, or the session's own program."""
    used = session.usage()
    return environment.peak_rss_bytes() if used is None else used.peak_rss_bytes


def steady_rss_bytes(session: Session) -> int:
    """What stays resident, once the laps are done, of the process that computes."""
    used = session.usage()
    return environment.rss_bytes((used.process_id if used else 0) or os.getpid())


def _distributions(backend: Backend) -> tuple[str, ...]:
    """Those whose versions a record has: the backend's own, and in another environment what takes their place."""
    elsewhere = {distribution_of(requirement) for requirements in backend.environments.values() for requirement in requirements}
    return (*backend.distributions, *sorted(elsewhere))


def _timed(
    session: Session, batches: Sequence[Arrays], plan: Plan, watch: Stopwatch, device: str
) -> tuple[dict[str, Any], Mapping[str, Mapping[int, Arrays]]]:
    meter = energy.Meter(device)
    first_step(session, batches[0], watch)
    with watch.phase("warm_up"):
        warm = timing.warm_up(session, batches, plan)
    with watch.phase("sample"), gpu.watch(device) as seen, meter:
        samples, kept = timing.sample(session, batches, plan, observe=seen.observe)
        observed = seen.facts()
        binding = timing.binding(samples, session, kept=2 * len(batches))
    return {
        "gpu": observed,
        "energy": meter.facts(sum(len(taken.laps_ns) for boundary, taken in samples.items() if boundary in BOUNDARIES)),
        "clock": session.clock,
        "inner_clock": session.inner_clock,
        "binding_ns": binding,
        "warm_up": warm,
        "samples_ns": {boundary: list(taken.laps_ns) for boundary, taken in samples.items()},
        "stability": {boundary: samples[boundary].verdict for boundary in BOUNDARIES},
        "blocks": {boundary: to_json(samples[boundary].blocks) for boundary in BOUNDARIES},
    }, kept


def difference(cell: Cell, attested: Attestation) -> str:
    """In words, where what ran is not what was asked; an empty string where they agree. Incomplete facts raise ValueError."""
    empty = [name for name in ("runtime", "version", "device", "precision", "denormals", "spinning") if not getattr(attested, name)]
    if empty or attested.threads < 1:
        missing = ", ".join(empty) or "threads"
        raise PhaseError("sample", ValueError(f"{cell.backend}: attest() left {missing} empty; read it from the runtime"))
    asked = {"precision": cell.precision, "device": cell.device, "threads": cell.threads}
    wrong = [f"{name} {value}, ran {getattr(attested, name)}" for name, value in asked.items() if getattr(attested, name) != value]
    return f"{cell.backend}: asked for {'; '.join(wrong)}" if wrong else ""


def judge(
    cell: Cell, kept: Mapping[str, Mapping[int, Arrays]], golden: Path, scored: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The worst verdict of the outputs kept, as JSON. `kept` has them by boundary, or by another way in which they were timed; `scored` is
    this session's own accuracy, where known."""
    facts = json.loads((golden / "facts.json").read_text())
    wanted = golden_outputs(golden, cell.model)
    tolerance = parity.tolerance_for(cell.precision, cell.model.tolerance)
    evidence = parity.Evidence(
        own_rmse=facts["own_rmse"].get(cell.precision, {}),
        fp32_rmse=facts["own_rmse"].get("fp32", {}),
        task=cell.model.task,
        metric=(scored["value"], facts["accuracy"]["value"]) if scored and facts.get("accuracy") else None,
        threshold=cell.model.score_threshold,
    )
    verdicts: list[ParityVerdict] = []
    for boundary, taken in kept.items():
        try:
            outputs = stack(taken, len(next(iter(wanted.values()))), _open(cell.model))
        except ValueError as error:
            raise ValueError(f"{boundary}: {error}") from error
        verdicts.append(parity.compare(outputs, wanted, cell.model.outputs, tolerance, facts["kind"], evidence))
    made: dict[str, Any] = to_json(max(verdicts, key=lambda verdict: (verdict.verdict != "pass", verdict.needed)))
    return made


def _open(model: Model) -> frozenset[str]:
    """The outputs whose sizes differ between batches."""
    return frozenset(spec.name for spec in model.outputs if spec.is_open)


def stack(kept: Mapping[int, Arrays], batches: int, unsized: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Kept outputs of every batch as one array [batches, ...] per name, or a list of arrays for the names in `unsized`.

    Raises ValueError where a batch is missing, or an output that is not in `unsized` has another shape for another batch.
    """
    missing = sorted(set(range(batches)) - set(kept))
    if missing:
        raise ValueError(f"no output was kept for batches {missing}")
    names = kept[0].keys()
    if any(outputs.keys() != names for outputs in kept.values()):
        raise ValueError("output names differ between batches")
    listed = {name: [np.asarray(kept[index][name]) for index in range(batches)] for name in names}
    return {name: arrays if name in unsized else _stacked(name, arrays) for name, arrays in listed.items()}


def _stacked(name: str, arrays: Sequence[Any]) -> Any:
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len(shapes) > 1:
        seen = ", ".join(str(list(shape)) for shape in shapes)
        raise ValueError(
            f"output {name} has the shapes {seen}, by the input; expected one. Of a detector, declare it with ANY, or give a model of "
            "your own --task detection (docs/tasks.md#detection)"
        )
    return np.stack(arrays)


def accuracy(session: Session, cell: Cell, input_folder: Path) -> dict[str, Any] | None:
    """Top-1 accuracy of this very session on the model's held-out split, or None where it has none."""
    if not cell.model.evaluation:
        return None
    samples, labels = np.load(input_folder / "evaluation.npy"), np.load(input_folder / "labels.npy")
    hits = 0
    for start in range(0, len(samples), cell.batch):
        indices = np.arange(start, start + cell.batch) % len(samples)
        batch = np.ascontiguousarray(samples[indices])
        batch.setflags(write=False)
        session.bind({cell.model.inputs[0].name: batch})
        session.step()
        session.sync()
        answers = session.fetch()[cell.model.outputs[0].name].argmax(-1)
        counted = min(cell.batch, len(samples) - start)
        hits += int(np.sum(answers[:counted] == labels[indices[:counted]]))
    return {"metric": "top-1", "value": hits / len(samples), "count": len(samples)}


def once(session: Session, batches: Sequence[Arrays], unsized: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The outputs of every batch, untimed, as `stack` has them."""
    kept = {}
    for index, batch in enumerate(batches):
        session.bind(batch)
        session.step()
        session.sync()
        kept[index] = session.fetch()
    return stack(kept, len(batches), unsized)


def make_golden(
    cell: Cell, golden: Golden, artifact: Path, input_folder: Path, yardsticks: Mapping[str, Path], folder: Path
) -> dict[str, Any]:
    """Write the golden outputs of the cell's model and batch; `yardsticks` maps a precision to its prepared artifact.

    The golden runs twice and must agree with itself to 1e-9 of its scale, or ValueError says so: a model that draws random
    numbers, or was left in training mode, has no one right answer.
    """
    batches = inputs.load(input_folder, cell.model)
    session = golden.load(artifact, registry.golden_cell(cell, golden.name))
    try:
        unsized = _open(cell.model)
        wanted = {name: _widened(values) for name, values in once(session, batches, unsized).items()}
        again = once(session, batches, unsized)
        scored = accuracy(session, cell, input_folder)
        kind = golden.kind_of(session)
        session.bind(batches[0])
        work = dict(golden.work(session))
    finally:
        session.close()
    for name, values in wanted.items():
        drift = _apart(values, again[name])
        if drift > 1e-9:
            raise ValueError(
                f"the golden of {cell.model.name} does not agree with itself: {name} differs by {drift:.1e} of its scale between two runs; "
                "put the model in eval mode and remove randomness"
            )
    own = {precision: _own_rmse(cell, golden, precision, path, batches, wanted) for precision, path in yardsticks.items()}
    _save(folder / "outputs.npz", wanted)
    facts = {"kind": kind, "own_rmse": own, "accuracy": scored, "work": work}
    (folder / "facts.json").write_text(json.dumps(facts))
    return facts


def _widened(values: Any) -> Any:
    return [array.astype(np.float64) for array in values] if isinstance(values, list) else values.astype(np.float64)


def _apart(values: Any, again: Any) -> float:
    """The largest difference of two runs in units of the first one's scale; infinite where they found different numbers of objects."""
    if isinstance(values, list):
        alike = all(one.shape == other.shape for one, other in zip(values, again, strict=True))
        return max(map(_apart, values, again)) if alike else math.inf
    scale = max(float(np.max(np.abs(values), initial=0.0)), 1e-300)
    return float(np.max(np.abs(values - again), initial=0.0)) / scale


def _save(file: Path, outputs: Mapping[str, Any]) -> None:
    """Write arrays under any names: those of `np.savez` are arguments of a function, so that none can be called `file`.

    Of a list each array has a file of its own, `boxes[0]`, `boxes[1]`, and so on.
    """
    named: dict[str, Any] = {}
    for name, values in outputs.items():
        named |= {f"{name}[{index}]": array for index, array in enumerate(values)} if isinstance(values, list) else {name: values}
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in named.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)


def golden_outputs(golden: Path, model: Model) -> dict[str, Any]:
    """The model's outputs in a golden's folder: an array [batches, ...] per name, or a list of arrays for one of open size."""
    return _loaded(golden / "outputs.npz", model)


def _loaded(file: Path, model: Model) -> dict[str, Any]:
    """What `_save` wrote of the model's outputs."""
    found = dict(np.load(file))
    for name in _open(model):
        files = [each for each in found if each.startswith(f"{name}[")]
        found[name] = [found.pop(f"{name}[{index}]") for index in range(len(files))]
    return found


def _own_rmse(
    cell: Cell, golden: Golden, precision: str, artifact: Path, batches: Sequence[Arrays], wanted: Mapping[str, Any]
) -> dict[str, float]:
    """RMSE of the yardstick at this precision, by output name: what the precision itself costs on this model.

    Outputs of open size have none: their rows are matched, not subtracted.
    """
    yardstick = registry.find(golden.yardstick)
    session = yardstick.load(artifact, registry.golden_cell(cell, golden.yardstick, precision))
    try:
        made = once(session, batches, _open(cell.model))
    finally:
        session.close()
    return {name: parity.rmse(made[name], values) for name, values in wanted.items() if name in made and not isinstance(values, list)}


__all__ = ["COMPUTE", "PhaseError", "Stopwatch", "difference", "golden_outputs", "judge", "make_golden", "once", "run", "stack"]
