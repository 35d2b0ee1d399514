"""The story of one process: load, first step, warm up, sample, attest, judge. Runs inside a worker."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core import artifact_store, registry
from harness.core.backend import Backend, Session
from harness.core.measurements import Attestation
from harness.core.types import BOUNDARIES, COMPUTE, Cell, Plan, to_json
from harness.environment import energy, gpu, system_info
from harness.environment.installers import distribution_of
from harness.inputs import batches as inputs
from harness.measurement import timing

if TYPE_CHECKING:
    from harness.core.backend import Arrays
from harness.measurement.judging import accuracy, judge


class PhaseError(Exception):
    """Wraps what went wrong with the name of the phase it went wrong in."""

    def __init__(self, phase: str, error: BaseException) -> None:
        super().__init__(str(error))
        self.phase = phase
        self.error = error


class Stopwatch:
    """Seconds by phase; an exception inside a phase leaves it as a PhaseError. `enter` is told each
    phase as it begins.
    """

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
    """Measure one cell once, in this process; returns what `schedule` merges with the other
    processes of the cell.

    `golden` is the folder of golden outputs, or None for a control, which has no answer to check.
    `enter` is told each phase as it begins. `score` is called with the session after it was timed;
    what it says is `scored`.
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
    """A session of the cell's artifact, and the seconds that importing its runtime took; `watch`
    has both as the phase `load`.
    """
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
    cell: Cell,
    attested: Attestation,
    folders: Mapping[str, Path],
    watch: Stopwatch,
    distributions: Sequence[str] = (),
) -> dict[str, Any]:
    """What a record says of the process that made it: what ran, from which files, how long each
    phase took, on what installation.

    `folders` are those of the artifact and the inputs; `distributions` are recorded besides the
    backend's own.
    """
    files = {spec.name: folders["inputs"] / inputs.file_of(spec.name) for spec in cell.model.inputs}
    recorded = (*_distributions(registry.find(cell.backend)), *distributions)
    return {
        # Read back from the folders that were loaded, so that what was judged is proved to be what
        # was timed.
        "artifact_sha256": artifact_store.digest_folder(folders["artifact"]),
        "input_sha256": inputs.digest_batches(files),
        "attested": to_json(attested),
        "asked_is_used": difference(cell, attested),
        "phases_seconds": watch.seconds,
        "installation": {
            "python": system_info.python(),
            "packages": system_info.packages(recorded),
        },
        "variables": system_info.relevant_variables(),
        "machine": system_info.load(),
    }


def peak_rss_bytes(session: Session) -> int:
    """Of the process that computes: this one, or the session's own program."""
    used = session.usage()
    return system_info.peak_rss_bytes() if used is None else used.peak_rss_bytes


def steady_rss_bytes(session: Session) -> int:
    """What stays resident, once the laps are done, of the process that computes."""
    used = session.usage()
    return system_info.rss_bytes((used.process_id if used else 0) or os.getpid())


def _distributions(backend: Backend) -> tuple[str, ...]:
    """Those whose versions a record has: the backend's own, and in another environment what takes
    their place.
    """
    elsewhere = {
        distribution_of(requirement)
        for requirements in backend.environments.values()
        for requirement in requirements
    }
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
        "energy": meter.facts(
            sum(len(taken.laps_ns) for boundary, taken in samples.items() if boundary in BOUNDARIES)
        ),
        "clock": session.clock,
        "inner_clock": session.inner_clock,
        "binding_ns": binding,
        "warm_up": warm,
        "samples_ns": {boundary: list(taken.laps_ns) for boundary, taken in samples.items()},
        "stability": {boundary: samples[boundary].verdict for boundary in BOUNDARIES},
        "blocks": {boundary: to_json(samples[boundary].blocks) for boundary in BOUNDARIES},
    }, kept


def difference(cell: Cell, attested: Attestation) -> str:
    """In words, where what ran is not what was asked; an empty string where they agree. Incomplete
    facts raise ValueError.
    """
    empty = [
        name
        for name in ("runtime", "version", "device", "precision", "denormals", "spinning")
        if not getattr(attested, name)
    ]
    if empty or attested.threads < 1:
        missing = ", ".join(empty) or "threads"
        raise PhaseError(
            "sample",
            ValueError(f"{cell.backend}: attest() left {missing} empty; read it from the runtime"),
        )
    asked = {"precision": cell.precision, "device": cell.device, "threads": cell.threads}
    wrong = [
        f"{name} {value}, ran {getattr(attested, name)}"
        for name, value in asked.items()
        if getattr(attested, name) != value
    ]
    return f"{cell.backend}: asked for {'; '.join(wrong)}" if wrong else ""


__all__ = ["COMPUTE", "PhaseError", "Stopwatch", "difference", "judge", "run"]
