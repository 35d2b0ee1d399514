"""What each recorded cell of a model needs: to be shipped, to be started and to run; and what a
million inferences then cost.

All of it is read from recorded lines. An inference here is one sample: a lap of batch 8 is eight of
them. What was not recorded is None.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from harness.statistics.estimates import Estimate
from reports.results import Record, Result
from reports.sections import tuning

MILLION = 1_000_000
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, eq=False)
class Needs:
    """One cell. Sizes in bytes, times in seconds: of several processes the middle one, of memory
    the largest.
    """

    result: Result

    @property
    def _record(self) -> Record:
        return self.result.record

    @cached_property
    def id(self) -> str:
        """The cell's id, for people."""
        return str(self.result.cell.get("id", ""))

    @cached_property
    def batch(self) -> int:
        """Samples per lap."""
        return int(self.result.cell.get("batch") or 1)

    @cached_property
    def parameters(self) -> int | None:
        """Of the model as it was given, whatever a runtime made of it."""
        known: int | None = (self._record.get("weights") or {}).get("parameters")
        return known

    @cached_property
    def flops(self) -> float | None:
        """Floating-point operations of one inference: counted on the golden, or else on the
        artifact where it was described.
        """
        model = ((self._record.get("artifact") or {}).get("facts") or {}).get("model") or {}
        known = self.result.limit.get("flops") or model.get("flops")
        return None if known is None else known / self.batch

    @cached_property
    def artifact_bytes(self) -> int | None:
        """What the runtime loads, without the runtime."""
        known: int | None = (self._record.get("artifact") or {}).get("bytes")
        return known

    @cached_property
    def import_seconds(self) -> float | None:
        """Importing the runtime; 0 for a program that imports nothing."""
        return self.result.seconds("import")

    @cached_property
    def load_seconds(self) -> float | None:
        """From the artifact to a session, without importing and compiling."""
        return self.result.seconds("load")

    @cached_property
    def compile_seconds(self) -> float | None:
        """What is compiled when the artifact is loaded, though it is prepared."""
        return self.result.seconds("compile")

    @cached_property
    def first_step_seconds(self) -> float | None:
        """The first inference of a session."""
        return self.result.seconds("first_step")

    @cached_property
    def first_answer_seconds(self) -> float | None:
        """The first answer of a fresh process with the prepared artifact: import, load, compile and
        first step.
        """
        return self.result.cold_start_seconds

    @cached_property
    def prepare_seconds(self) -> float | None:
        """Exporting, converting, quantising and compiling ahead, when the artifact was made."""
        known: float | None = (self._record.get("prepare") or {}).get("seconds")
        return known

    @cached_property
    def first_answer_unprepared_seconds(self) -> float | None:
        """A sum, and no process that was timed as a whole: making the artifact anew, plus the first
        answer of a fresh process with it.
        """
        if self.prepare_seconds is None or self.first_answer_seconds is None:
            return None
        return self.prepare_seconds + self.first_answer_seconds

    @cached_property
    def tuning_seconds(self) -> float | None:
        """What the search took whose records the artifact was made with; None for a runtime that
        does not search.
        """
        facts = tuning.facts_of(self._record)
        return float(facts.get("seconds") or 0.0) if facts else None

    @cached_property
    def peak_bytes(self) -> int | None:
        """The largest resident set of any process, which held that runtime alone (and the harness,
        where it is called from Python).
        """
        return max((self._record.get("memory") or {}).get("peak_rss_bytes") or (), default=None)

    @cached_property
    def steady_bytes(self) -> int | None:
        """What stays resident after the last lap, of the process that kept most."""
        return max(self._record.get("steady_rss_bytes") or (), default=None)

    @cached_property
    def latency(self) -> Estimate | None:
        """Host to host, in nanoseconds per lap."""
        return self.result.host_to_host

    @cached_property
    def inference_seconds(self) -> float | None:
        """Of one inference, one after another as they were timed, host to host."""
        return self.latency.value / 1e9 / self.batch if self.latency else None

    @cached_property
    def joules(self) -> float | None:
        """Of one inference, as `joules_per_inference` has it."""
        return joules_per_inference(self._record)

    def cost(self, price_per_hour: float) -> float | None:
        """What a million inferences cost on a machine of this price, in its currency, which does
        nothing else meanwhile.
        """
        return (
            None
            if self.inference_seconds is None
            else self.inference_seconds * MILLION * price_per_hour / SECONDS_PER_HOUR
        )


def joules_per_inference(record: Record) -> float | None:
    """What the counters saw during the laps of all processes, over their inferences, idle power
    included; None where nothing was.
    """
    processes = (record.get("energy") or {}).get("processes") or ()
    inferences = sum(int(each["laps"]) for each in processes) * int(
        (record.get("cell") or {}).get("batch") or 1
    )
    return (
        sum(sum(each["joules"].values()) for each in processes) / inferences if inferences else None
    )


def plain(needs: Needs, price_per_hour: float | None = None) -> dict[str, Any]:
    """One cell as JSON values."""
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
    """Why energy, or the processor's, is not known, in words; an empty string where nothing is
    missing.
    """
    recorded = needs.result.record.get("energy")
    return (
        str(recorded.get("reason") or "")
        if recorded
        else "recorded by an evenbench that did not ask for it"
    )
