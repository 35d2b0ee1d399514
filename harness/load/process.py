"""Calls that arrive as a scenario says, at one loaded session in this process; the outputs of those
very calls are judged.

A lap is a call as its caller sees it: inputs handed over, inference, outputs fetched
(`host_to_host`). Runs inside a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.core.backend import Session
from harness.core.errors import Unsupported
from harness.core.types import HOST_TO_HOST, Cell, Plan
from harness.load import callers, declared_sizes, dynamic_shapes, mlperf, single_caller
from harness.load.context import Points, Scene
from harness.load.scenarios import (
    CONCURRENT,
    GAPS,
    SERVER,
    SHAPES,
    SINGLE,
    SWEEP,
    LoadRequest,
    Scenario,
)
from harness.measurement import judging, provenance, timing
from harness.measurement.resident import resident
from harness.runner.job import Channel, Job


def perform(job: Job, channel: Channel) -> dict[str, Any]:
    """The task `load` of a worker."""
    request: LoadRequest = job.payload
    return run(
        job.cell,
        request.plan,
        request.scenario,
        {name: Path(path) for name, path in job.folders.items()},
        channel.enter,
    )


def run(
    cell: Cell,
    plan: Plan,
    scenario: Scenario,
    folders: Mapping[str, Path],
    enter: Callable[[str], None],
) -> dict[str, Any]:
    """Put one scenario's load on the cell's runtime; returns what its line is made of. `folders`
    are artifact, inputs and golden, and inputs and goldens of other sizes where the scenario feeds
    them (`Prepared.folders`).

    Raises Unsupported, in words, where the session cannot be called so, and Unavailable where the
    load generator is not installed.
    """
    if scenario.name == SERVER:
        mlperf.find()
    with resident(cell, plan, folders, enter) as loaded:
        session, watch = loaded.session, loaded.watch
        refuse(session, cell, scenario)
        sizes = declared_sizes.load(cell, folders)
        scene = Scene(session, loaded.batches, cell, scenario, sizes=sizes)
        loaded.warm_up()
        with loaded.sampling() as seen:
            before, begin = timing.counters_of(session), scene.now()
            points = DRIVERS[scenario.name](scene)
            wall, after = scene.now() - begin, timing.counters_of(session)
            seen.observe(HOST_TO_HOST)
        peak = provenance.peak_rss_bytes(session)
        attested = session.attest()
        with watch.phase("parity"):
            accuracy = judging.accuracy(session, cell, folders["inputs"])
            verdict, judged_sizes = declared_sizes.judge(scene, folders, accuracy)
    return {
        **provenance.provenance(cell, attested, folders, watch, (mlperf.DISTRIBUTION,)),
        "points": points,
        "block": {"wall_ns": wall, **timing.counted(before, after)},
        "clock": session.clock,
        "warm_up": loaded.warm,
        "gpu": loaded.observed,
        "peak_rss_bytes": peak,
        "parity": verdict,
        "sizes": judged_sizes,
        "accuracy": accuracy,
    }


def refuse(session: Session, cell: Cell, scenario: Scenario) -> None:
    """Raise Unsupported, in words, where calls of this scenario cannot be told apart in the
    session.
    """
    if session.in_flight > 1 and scenario.name != CONCURRENT:
        raise Unsupported(
            f"{cell.backend} keeps {session.in_flight} requests in flight, whose single latencies nobody sees; take the cell without "
            "that option here, or `--scenario concurrent` for its throughput"
        )
    if type(session).laps is not Session.laps and scenario.name in (CONCURRENT, SERVER, SHAPES):
        raise Unsupported(
            f"{cell.backend} loops and times by itself ({session.clock}); no call can be made from here when it arrives"
        )


DRIVERS: Mapping[str, Callable[[Scene], Points]] = {
    SINGLE: single_caller.in_turn,
    SWEEP: single_caller.in_turn,
    CONCURRENT: callers.concurrent,
    SERVER: callers.server,
    GAPS: single_caller.idle_gaps,
    SHAPES: dynamic_shapes.shapes,
}
