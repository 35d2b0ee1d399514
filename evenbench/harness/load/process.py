"""A measuring process of a load run: load the network, run the scenario's calls, judge the outputs.

A lap is a call as the caller experiences the call: bind inputs, infer, fetch outputs
(`host_to_host`). Parity judges the outputs of the timed calls. Runs inside a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evenbench.harness.core.errors import Unsupported
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import HOST_TO_HOST, Cell
from evenbench.harness.load import callers, declared_sizes, dynamic_shapes, mlperf, single_caller
from evenbench.harness.load.context import LoadContext, Points
from evenbench.harness.load.scenarios import (
    CONCURRENT,
    GAPS,
    SERVER,
    SHAPES,
    SINGLE,
    SWEEP,
    LoadRequest,
    Scenario,
)
from evenbench.harness.measurement import judging, provenance, timing
from evenbench.harness.measurement.resident import ResidentCell, resident
from evenbench.harness.runner.job import Channel, Job

CALL_PATTERNS: Mapping[str, Callable[[LoadContext], Points]] = {
    SINGLE: single_caller.back_to_back,
    SWEEP: single_caller.back_to_back,
    CONCURRENT: callers.concurrent,
    SERVER: callers.server,
    GAPS: single_caller.idle_gaps,
    SHAPES: dynamic_shapes.changing_shapes,
}
"""The function of each scenario, which makes the calls and returns the points."""


def perform(job: Job, channel: Channel) -> dict[str, Any]:
    """The task `load` of a worker."""
    request: LoadRequest = job.payload
    folders = {name: Path(path) for name, path in job.folders.items()}
    return run(job.cell, request.plan, request.scenario, folders, channel.enter)


def run(
    cell: Cell,
    plan: Plan,
    scenario: Scenario,
    folders: Mapping[str, Path],
    enter: Callable[[str], None],
) -> dict[str, Any]:
    """Run a scenario on the cell's runtime; returns this process's part of the result line.

    `folders` has the artifact, inputs and golden, and for changing sizes the inputs and goldens of
    other sizes (`Prepared.folders`). Raises Unsupported for a session without support for the
    scenario, and Unavailable without the load generator.
    """
    if scenario.name == SERVER:
        mlperf.load_generator()
    with resident(cell, plan, folders, enter) as loaded:
        session = loaded.session
        check_supported(session, cell, scenario)
        sizes = declared_sizes.load(cell, folders)
        loaded.make_ready()
        context = LoadContext(session, loaded.batches, cell, scenario, sizes=sizes)
        points, block = _sampled(loaded, context)
        peak = provenance.peak_rss_bytes(session)
        attested = session.attest()
        with loaded.watch.phase("parity"):
            accuracy = judging.accuracy(session, cell, folders["inputs"])
            verdict, judged_sizes = declared_sizes.judge(context, folders, accuracy)
        # Last, because the experiments bind inputs that no record names.
        impossible = loaded.examined() if verdict and verdict["verdict"] == "pass" else ""
    return {
        **provenance.provenance(cell, attested, folders, loaded.watch, (mlperf.DISTRIBUTION,)),
        "points": points,
        "block": block,
        "clock": session.clock,
        "warm_up": loaded.warm,
        "gpu": loaded.observed,
        "peak_rss_bytes": peak,
        "parity": verdict,
        "impossible": impossible,
        "sizes": judged_sizes,
        "accuracy": accuracy,
    }


def _sampled(loaded: ResidentCell, context: LoadContext) -> tuple[Points, dict[str, int]]:
    """The points of the scenario's calls, and the counters of process and machine around them."""
    session, call = loaded.session, CALL_PATTERNS[context.scenario.name]
    with loaded.sampling() as observer:
        before, begin = timing.counters_of(session), context.now()
        points = call(context)
        wall, after = context.now() - begin, timing.counters_of(session)
        observer.observe(HOST_TO_HOST)
    return points, {"wall_ns": wall, **timing.counted(before, after)}


def check_supported(session: Session, cell: Cell, scenario: Scenario) -> None:
    """Raise Unsupported for a session that hides the single calls of the scenario."""
    if session.in_flight > 1 and scenario.name != CONCURRENT:
        raise Unsupported(
            f"{cell.backend} keeps {session.in_flight} requests in flight, so single latencies "
            f"are unknown; choose a cell without that option, or scenario {CONCURRENT} for "
            "throughput"
        )
    if type(session).laps is not Session.laps and scenario.name in (CONCURRENT, SERVER, SHAPES):
        raise Unsupported(
            f"{cell.backend} loops and times by itself ({session.clock}), so the harness cannot "
            f"start single calls; scenario {SINGLE} works"
        )
