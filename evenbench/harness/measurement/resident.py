"""A resident cell: loaded and warmed up once, timed any number of times, judged at the end.

`evenbench run`, `compare`, `load` and `pipeline` all use this module, so the same code loads, warms
up, attests and judges a cell for every command. Runs inside a child process.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core import clock_tick, registry
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.records.sampling import WarmUpRecord
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import BOUNDARIES, COMPUTE, HOST_TO_HOST, Cell, to_json
from evenbench.harness.environment import cpu, cpu_time, energy, gpu
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.measurement import (
    examination,
    judging,
    plausibility,
    provenance,
    sampling,
    streams,
    timing,
)
from evenbench.harness.measurement.phases import Stopwatch
from evenbench.harness.measurement.turns import Turns

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

Kept = Mapping[str, Mapping[int, "Arrays"]]
"""Outputs to judge: boundary → number of the batch → outputs by name."""


@dataclass
class ResidentCell:
    """A loaded cell of this process. Use the context manager `resident`, which closes the session.

    `folders` has the artifact, the inputs and, for a judged cell, the golden.
    """

    cell: Cell
    plan: Plan
    folders: Mapping[str, Path]
    watch: Stopwatch
    session: Session
    batches: Sequence[Arrays]
    import_seconds: float
    cold_start_seconds: float = field(default=0.0, init=False)
    """From the beginning of loading to the end of the first step."""
    warm: WarmUpRecord | None = field(default=None, init=False)
    observed: dict[str, Any] | None = field(default=None, init=False)
    """The GPU's clocks and temperature while laps were taken; None on a CPU."""
    kept: Kept = field(default_factory=dict, init=False)
    turns: Turns | None = field(default=None, init=False)
    """The turns so far, from the first on."""
    _resources: ExitStack = field(default_factory=ExitStack, init=False)
    _helpers_ns: int = field(default=0, init=False)
    """CPU time of other processes started by this one, at the first turn."""
    taken: int = field(default=0, init=False)
    """Laps taken by `take_laps` so far, so that inputs go on rotating."""

    def make_ready(self) -> None:
        """Run the first step, then warm up."""
        self.take_first_step()
        self.warm_up()

    def take_first_step(self) -> None:
        """Run the first step, the end of the cold start."""
        with self.watch.phase("first_step"):
            self.session.bind(self.batches[0])
            self.session.step()
            self.session.sync()
        self.cold_start_seconds += self.watch.seconds["first_step"]

    def warm_up(self) -> None:
        """Run the steps of a stream, if any, then windows of laps until windows agree."""
        with self.watch.phase("warm_up"):
            self.carry_state()
            self.warm = sampling.warm_up(self.session, self.batches, self.plan)

    def carry_state(self) -> None:
        """Run the steps of a stream, with states as inputs of all later laps."""
        self.batches = streams.carried(self.session, self.batches, self.cell.model.state)

    @contextmanager
    def sampling(self) -> Iterator[gpu.Watch]:
        """The sampling phase, with the device observed."""
        with self.watch.phase("sample"), gpu.watch(self.cell.device) as seen:
            yield seen
            self.observed = seen.facts()

    def take_laps(self, number: int, untimed: int = 1) -> dict[str, Any]:
        """Take untimed laps, then `number` laps of `compute` between readings of the counters.

        The untimed laps warm the caches again after another process has run on the same cores.
        """
        self.session.bind(self.batches[self.taken % len(self.batches)])
        for _ in range(untimed):
            self.session.step()
        self.session.sync()
        before = timing.counters_of(self.session)
        laps = timing.run_laps(
            self.session, self.batches, self.taken, number, COMPUTE, set(), timing.CLOCK
        )
        after = timing.counters_of(self.session)
        self.taken += number
        grown = timing.counted(before, after)
        counts = {name: grown[name] for name in ("cpu_ns", "preemptions", "machine_cpu_ns")}
        steal_ns = grown["steal_ticks"] * clock_tick.tick_ns()
        return {"laps_ns": laps.laps_ns, **counts, "steal_ns": steal_ns}

    def take_turn(self, number: int) -> dict[str, Any]:
        """Take the turn of a round: untimed laps, then a block of each boundary (`Turns.take`)."""
        if self.turns is None:
            self.meter = self._resources.enter_context(closing(energy.Meter(self.cell.device)))
            self._seen = self._resources.enter_context(gpu.watch(self.cell.device))
            windows_ns = self.warm["windows_ns"] if self.warm else []
            typical_ns = windows_ns[-1] if windows_ns else 0.0
            self._helpers_ns = self._descendants_ns()
            self.turns = Turns(
                self.session, self.batches, self.plan, typical_ns, observe=self._seen.observe
            )
        with self.watch.phase("sample"), self.meter:
            return self.turns.take(number)

    def measured(self) -> dict[str, Any]:
        """The laps, blocks and counters of all turns; empty without a turn."""
        if self.turns is None:
            return {}
        samples, turns = self.turns.samples(), self.turns
        self.kept, self.observed = turns.kept, self._seen.facts()
        with self.watch.phase("sample"):
            fetching = turns.samplers[HOST_TO_HOST].kept_in
            binding = sampling.binding(samples, self.session, fetching)
        return {
            "gpu": self.observed,
            "energy": self.meter.facts(sum(len(samples[name].laps_ns) for name in BOUNDARIES)),
            "clock": self.session.clock,
            "inner_clock": self.session.inner_clock,
            "binding_ns": binding,
            "warm_up": self.warm,
            "samples_ns": {boundary: list(taken.laps_ns) for boundary, taken in samples.items()},
            "stability": {boundary: samples[boundary].verdict for boundary in BOUNDARIES},
            "blocks": {boundary: to_json(samples[boundary].blocks) for boundary in BOUNDARIES},
            "interleaving": {"rounds": turns.rounds, "untimed_laps": turns.untimed_laps},
        }

    def examined(self) -> str:
        """The reason why the laps cannot be those of inference, or an empty string.

        A few laps outside the record (`examination`), after memory was read.
        """
        if self.session.in_flight > 1:
            return ""  # no single laps
        if self.turns is None:
            return examination.after_calls(self.session, self.batches)
        laps_ns = {name: sampler.laps_ns for name, sampler in self.turns.samplers.items()}
        return examination.Examination(self.session, self.batches, laps_ns).reason()

    def differences(self) -> list[str]:
        """Differences from the request that the laps show: inferences in flight, cores in use."""
        cell, session = self.cell, self.session
        differences = []
        if session.in_flight > 1 and not cell.is_throughput:
            differences.append(f"single inferences, ran {session.in_flight} in flight")
        if self.turns and cell.device == "cpu":
            helpers_ns = self._descendants_ns() - self._helpers_ns
            helpers = helpers_ns / (self.watch.seconds["sample"] * 1e9)
            differences.append(
                plausibility.too_many_cores(cell.threads, self.turns.cores + helpers)
            )
        return [text for text in differences if text]

    def _descendants_ns(self) -> int:
        """CPU time of processes started by this one, without the session's own program."""
        usage = self.session.usage()
        return cpu_time.descendants_ns(os.getpid(), usage.process_id if usage else 0)

    def release(self) -> None:
        """End the readers of counters."""
        self._resources.close()

    def keep_outputs(self) -> None:
        """Keep the outputs of a lap per batch and boundary, for cells timed by `take_laps`."""
        everything = set(range(len(self.batches)))
        self.kept = {
            boundary: timing.run_laps(
                self.session, self.batches, 0, len(everything), boundary, everything, timing.CLOCK
            ).kept
            for boundary in BOUNDARIES
        }

    def judged(self) -> dict[str, Any]:
        """The accuracy on held-out data and the parity verdict over the kept outputs."""
        with self.watch.phase("parity"):
            accuracy = judging.accuracy(self.session, self.cell, self.folders["inputs"])
            golden = self.folders.get("golden")
            parity = judging.judge(self.cell, self.kept, golden, accuracy) if golden else None
        return {"accuracy": accuracy, "parity": parity}


@contextmanager
def resident(
    cell: Cell,
    plan: Plan,
    folders: Mapping[str, Path],
    enter: Callable[[str], None] = lambda phase: None,
) -> Iterator[ResidentCell]:
    """Load a cell in this process; the end closes the session. `enter` gets each phase."""
    watch = Stopwatch(enter)
    batches = inputs.load(folders["inputs"], cell.model)
    backend = registry.find(cell.backend)
    begin = time.perf_counter()
    with watch.phase("load"):
        for name in backend.requires:
            importlib.import_module(name)
        import_seconds = time.perf_counter() - begin
        session = backend.load(folders["artifact"], cell)
    loaded = ResidentCell(cell, plan, folders, watch, session, batches, import_seconds)
    loaded.cold_start_seconds = time.perf_counter() - begin
    try:
        yield loaded
    finally:
        loaded.release()
        session.close()


def run(
    cell: Cell,
    plan: Plan,
    folders: Mapping[str, Path],
    enter: Callable[[str], None] = lambda phase: None,
    score: Callable[[Session], Mapping[str, Any]] | None = None,
    commands: Iterable[Mapping[str, Any]] = (),
    tell: Callable[[Mapping[str, Any]], None] = lambda message: None,
    pauses: bool = False,
) -> dict[str, Any]:
    """Measure a cell in this process; returns the process's part of an outcome's record.

    The cell stays resident between `commands`: `turn` takes the turn of round `number`, `sample`
    takes `number` laps after `untimed` laps (default: 1). `tell` gets `{"ready": true}` once the
    cell is warm, and the result of every command; with `pauses` also `{"loaded": true}` after the
    first step, and a command starts the warm-up. `score` evaluates the session on labelled data
    after the last command.
    """
    with resident(cell, plan, folders, enter) as loaded:
        session, watch = loaded.session, loaded.watch
        loaded.take_first_step()
        waiting = iter(commands)
        if pauses:
            tell({"loaded": True})
            next(waiting, None)
        loaded.warm_up()
        tell({"ready": True})
        for command in waiting:
            number = command["number"]
            if command["do"] == "turn":
                tell(loaded.take_turn(number))
            else:
                tell(loaded.take_laps(number, command.get("untimed", 1)))
        measured = loaded.measured()
        measured["peak_rss_bytes"] = provenance.peak_rss_bytes(session)
        measured["steady_rss_bytes"] = provenance.steady_rss_bytes(session)
        if not loaded.kept:
            loaded.keep_outputs()
        observed = loaded.differences()
        attested = session.attest()
        measured |= loaded.judged()
        measured["scored"] = score(session) if score else None
        # Last, because the experiments bind inputs that no record names.
        right = (measured["parity"] or {}).get("verdict") == "pass"
        measured["impossible"] = loaded.examined() if right else ""
    watch.seconds["compile"] = session.compile_seconds
    loading = watch.seconds["load"] - loaded.import_seconds - session.compile_seconds
    watch.seconds["load"] = max(0.0, loading)  # two clock readings apart if nothing is imported
    return {
        **measured,
        **provenance.provenance(cell, attested, folders, watch, observed=observed),
        "import_seconds": loaded.import_seconds,
        "cold_start_seconds": loaded.cold_start_seconds,
        "affinity": cpu.allowed(),
    }
