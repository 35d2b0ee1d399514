"""Resources of each recorded cell: to ship, to start and to run, and the cost of a million
inferences.

All values come from recorded lines, None if not recorded. An inference is one sample: a lap at
batch 8 counts as eight.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports.result_groups import Record, Result
from evenbench.reports.sections import tuning

MILLION = 1_000_000
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, eq=False)
class Needs:
    """Resources of a cell.

    Sizes in bytes, times in seconds. Times are medians over processes, memory is the maximum.
    """

    result: Result

    @property
    def _record(self) -> Record:
        return self.result.record

    @cached_property
    def id(self) -> str:
        """The id of the cell, for people."""
        return str(self.result.cell.get("id", ""))

    @cached_property
    def batch(self) -> int:
        """Samples per lap."""
        return int(self.result.cell.get("batch") or 1)

    @cached_property
    def parameters(self) -> int | None:
        """Parameters of the original model, before conversion by a runtime."""
        known: int | None = (self._record.get("weights") or {}).get("parameters")
        return known

    @cached_property
    def flops(self) -> float | None:
        """Floating-point operations of an inference: of the golden, otherwise of the artifact."""
        model = ((self._record.get("artifact") or {}).get("facts") or {}).get("model") or {}
        known = self.result.limit.get("flops") or model.get("flops")
        return None if known is None else known / self.batch

    @cached_property
    def artifact_bytes(self) -> int | None:
        """The size of the artifact, without the runtime."""
        known: int | None = (self._record.get("artifact") or {}).get("bytes")
        return known

    @cached_property
    def import_seconds(self) -> float | None:
        """The import of the runtime; 0 for a program without imports."""
        return self.result.seconds("import")

    @cached_property
    def load_seconds(self) -> float | None:
        """The load from artifact to session, without import and compilation."""
        return self.result.seconds("load")

    @cached_property
    def compile_seconds(self) -> float | None:
        """Compilation while loading, after preparation."""
        return self.result.seconds("compile")

    @cached_property
    def first_step_seconds(self) -> float | None:
        """The first inference of a session."""
        return self.result.seconds("first_step")

    @cached_property
    def first_answer_seconds(self) -> float | None:
        """The first output of a fresh process: import, load, compile and first step."""
        return self.result.cold_start_seconds

    @cached_property
    def prepare_seconds(self) -> float | None:
        """Export, conversion, quantisation and compilation of the artifact."""
        known: float | None = (self._record.get("prepare") or {}).get("seconds")
        return known

    @cached_property
    def first_answer_unprepared_seconds(self) -> float | None:
        """The sum of preparation and first output.

        Adds two separate measurements; no process was timed doing both.
        """
        if self.prepare_seconds is None or self.first_answer_seconds is None:
            return None
        return self.prepare_seconds + self.first_answer_seconds

    @cached_property
    def tuning_seconds(self) -> float | None:
        """The search for the artifact's schedules; None for a runtime without search."""
        facts = tuning.facts_of(self._record)
        return float(facts.get("seconds") or 0.0) if facts else None

    @cached_property
    def peak_bytes(self) -> int | None:
        """The largest resident set of any process.

        A process holds one runtime, and the harness if called from Python.
        """
        return max((self._record.get("memory") or {}).get("peak_rss_bytes") or (), default=None)

    @cached_property
    def steady_bytes(self) -> int | None:
        """The largest resident set of any process after its last lap."""
        return max(self._record.get("steady_rss_bytes") or (), default=None)

    @cached_property
    def latency(self) -> Estimate | None:
        """Host to host, in nanoseconds per lap."""
        return self.result.host_to_host

    @cached_property
    def inference_seconds(self) -> float | None:
        """The time of an inference, sequential, host to host."""
        return self.latency.value / 1e9 / self.batch if self.latency else None

    @cached_property
    def joules(self) -> float | None:
        """Energy of an inference, by `joules_per_inference`."""
        return joules_per_inference(self._record)

    def cost(self, price_per_hour: float) -> float | None:
        """Return the cost of a million inferences, in the currency of the price.

        Assumes a machine dedicated to the inferences.
        """
        return (
            None
            if self.inference_seconds is None
            else self.inference_seconds * MILLION * price_per_hour / SECONDS_PER_HOUR
        )


def joules_per_inference(record: Record) -> float | None:
    """Return the energy counted during all laps over the number of inferences.

    Includes idle power; None without counters.
    """
    processes = (record.get("energy") or {}).get("processes") or ()
    inferences = sum(int(process["laps"]) for process in processes) * int(
        (record.get("cell") or {}).get("batch") or 1
    )
    return (
        sum(sum(process["joules"].values()) for process in processes) / inferences
        if inferences
        else None
    )


def plain(needs: Needs, price_per_hour: float | None = None) -> dict[str, Any]:
    """Return the resources of a cell as JSON values."""
    cell = needs.result.cell
    names = (
        "parameters",
        "flops",
        "artifact_bytes",
        "import_seconds",
        "load_seconds",
        "compile_seconds",
        "first_step_seconds",
    )
    more = (
        "first_answer_seconds",
        "prepare_seconds",
        "first_answer_unprepared_seconds",
        "tuning_seconds",
        "peak_bytes",
        "steady_bytes",
    )
    latency = asdict(needs.latency) if needs.latency else None
    return {
        "id": needs.id,
        "run": needs.result.run,
        **{
            name: cell.get(name)
            for name in ("backend", "precision", "device", "batch", "threads", "options")
        },
        **{name: getattr(needs, name) for name in (*names, *more, "inference_seconds")},
        "latency_ns": {name: latency[name] for name in ("value", "low", "high")}
        if latency
        else None,
        "joules_per_inference": needs.joules,
        "energy_reason": energy_reason(needs),
        "cost_per_million": None if price_per_hour is None else needs.cost(price_per_hour),
    }


def energy_reason(needs: Needs) -> str:
    """Return why energy, or the processor's energy, is unknown; empty if known."""
    recorded = needs.result.record.get("energy")
    return (
        str(recorded.get("reason") or "")
        if recorded
        else "recorded by an evenbench without energy counters"
    )
