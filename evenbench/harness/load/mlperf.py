"""MLCommons' load generator on a session: arrival times, latencies and the verdict on a run.

The generator counts a query's latency from the scheduled arrival, so queries behind a stalled call
are late too. The rules are MLPerf's; the runs are shorter than a submission's ten minutes, so the
results are no MLPerf results.
"""

from __future__ import annotations

import importlib.util
import queue
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.errors import Unavailable
from evenbench.harness.load import capacity, mlperf_log
from evenbench.harness.load.scenarios import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenbench.harness.core.session import Arrays

DISTRIBUTION, MODULE = "mlcommons-loadgen", "mlperf_loadgen"

HINT = "pip install 'evenbench[load]'"

PERCENTILE = 0.99

QUERIES = 662
"""Minimum number of queries per run: the fewest for a p99 with one late query, by the rule of
MLPerf's early stopping at 99 % confidence.
"""

FEWEST = 100
"""Minimum number of queries for a run that only measures throughput."""

RECORDED_SETTINGS = ("server_target_qps", "schedule_rng_seed")

Call = Callable[[int], "Arrays"]
"""Function for one query: batch number to outputs. Only one thread calls the function."""


def lacks() -> str:
    """The reason for a missing load generator, or an empty string. Imports nothing."""
    if importlib.util.find_spec(MODULE) is not None:
        return ""
    return (
        f"the server scenario needs MLCommons' load generator, {DISTRIBUTION}, "
        f"which is not installed; {HINT}"
    )


def load_generator() -> Any:
    """Import the generator's module. Raises Unavailable without the package."""
    reason = lacks()
    if reason:
        raise Unavailable(reason)
    return importlib.import_module(MODULE)


def judge(
    scenario: Scenario,
    calls: Sequence[Call],
    batches: int,
    usual_ns: float,
    judged: dict[str, Mapping[int, Arrays]],
) -> dict[str, Any]:
    """Run SingleStream, Offline, and then arrivals at a fixed rate or at the rates of a search.

    `calls` has a function per thread. `usual_ns` is the usual duration of a call, for the
    generator's planning. The outputs of each batch's last query go into `judged` by run name.
    Returns all runs, and the highest valid rate or None with a reason.
    """
    bench = _Bench(scenario, calls, batches, judged)
    single = bench.run("SingleStream", single_stream_expected_latency_ns=max(1, int(usual_ns)))
    expected_rate = 1.5 * len(calls) * 1e9 / usual_ns
    offline = bench.run("Offline", offline_expected_qps=expected_rate, min_query_count=FEWEST)
    if scenario.rate_per_second:
        valid = bench.is_valid(scenario.rate_per_second, 0)
        rate = scenario.rate_per_second if valid else None
        return bench.point(rate, bench.runs[-1]["reason"])
    fastest = single["p50_ns"]
    if fastest is not None and fastest > scenario.bound_ns:
        ratio = fastest / scenario.bound_ns
        return bench.point(
            None,
            f"no rate can be valid: half of a single caller's calls take more than {ratio:.3g} "
            "times the bound",
        )
    return bench.point(*capacity.highest_rate(bench.is_valid, offline["queries_per_second"]))


@dataclass
class _Bench:
    """All runs of the generator for one scenario and session."""

    scenario: Scenario
    calls: Sequence[Call]
    batches: int
    judged: dict[str, Mapping[int, Arrays]]
    runs: list[dict[str, Any]] = field(default_factory=list)

    def run(self, name: str, **settings: Any) -> dict[str, Any]:
        """Run a scenario of the generator; returns the verdict."""
        calls = self.calls[:1] if name == "SingleStream" else self.calls
        entries = _run(name, calls, self.batches, settings, self.scenario, self.judged)
        verdict = mlperf_log.verdict(entries)
        recorded = {key: settings[key] for key in RECORDED_SETTINGS if key in settings}
        self.runs.append({**verdict, **recorded})
        return verdict

    def is_valid(self, rate: float, number: int) -> bool:
        """Whether a run at a rate per second is valid, with the `number`-th arrival schedule."""
        seed = 1000 * self.scenario.seed + number + 1
        verdict = self.run(
            "Server", server_target_qps=rate, schedule_rng_seed=seed, sample_index_rng_seed=seed
        )
        return bool(verdict["verdict"] == "VALID")

    def point(self, rate: float | None, reason: str) -> dict[str, Any]:
        """The runs as a point of the scenario."""
        return {"runs": self.runs, "rate_per_second": rate, "reason": reason}


def _run(
    name: str,
    calls: Sequence[Call],
    batches: int,
    settings: Mapping[str, Any],
    scenario: Scenario,
    judged: dict[str, Mapping[int, Arrays]],
) -> dict[str, Any]:
    """Run the generator once; returns the entries of the log. Raises a call's exception."""
    mlperf = load_generator()
    threads = QueryThreads(mlperf, calls)
    with (
        tempfile.TemporaryDirectory(prefix="evenbench-loadgen-") as folder,
        _system(mlperf, threads, batches) as (system, library),
    ):
        logs = mlperf.LogSettings()
        logs.log_output.outdir, logs.enable_trace = folder, False
        threads.start()
        try:
            audit = ""  # an audit file is for submissions only
            test = _settings(mlperf, name, scenario, settings)
            mlperf.StartTestWithLogSettings(system, library, test, logs, audit)
        finally:
            threads.stop()
        if threads.error:
            raise threads.error
        judged[name] = {**judged.get(name, {}), **threads.judged}
        log = Path(folder) / "mlperf_log_detail.txt"
        return mlperf_log.read(log.read_text(encoding="utf-8", errors="replace"))


@contextmanager
def _system(mlperf: Any, threads: QueryThreads, batches: int) -> Iterator[tuple[Any, Any]]:
    """The generator's handles of the system under test and the sample library."""

    def do_nothing(*_: Any) -> None:
        """Nothing to flush, load or unload: all batches are in memory."""

    system = mlperf.ConstructSUT(threads.issue, do_nothing)
    library = mlperf.ConstructQSL(batches, batches, do_nothing, do_nothing)
    try:
        yield system, library
    finally:
        mlperf.DestroyQSL(library)
        mlperf.DestroySUT(system)


def _settings(mlperf: Any, name: str, scenario: Scenario, settings: Mapping[str, Any]) -> Any:
    test = mlperf.TestSettings()
    test.scenario, test.mode = getattr(mlperf.TestScenario, name), mlperf.TestMode.PerformanceOnly
    test.min_duration_ms = max(1, round(scenario.seconds * 1e3))
    test.min_query_count = QUERIES
    test.server_target_latency_ns = int(scenario.bound_ns)
    test.server_target_latency_percentile = PERCENTILE
    for key, value in settings.items():
        setattr(test, key, value)
    return test


class QueryThreads:
    """Threads that process queries in order of arrival.

    After an error the threads complete the remaining queries without a call, so the run ends.
    """

    def __init__(self, mlperf: Any, calls: Sequence[Call]) -> None:
        self.mlperf = mlperf
        self.waiting: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self.ready = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self._work, args=(call,)) for call in calls]
        self.judged: dict[int, Arrays] = {}
        self.error: BaseException | None = None

    def issue(self, samples: Sequence[Any]) -> None:
        """Queue the generator's queries; returns at once."""
        for sample in samples:
            self.waiting.put((sample.id, sample.index))

    def start(self) -> None:
        """Start the threads, and wait for a first call in each thread.

        A runtime allocates a thread's buffers and team in the first call.
        """
        for thread in self.threads:
            thread.start()
        for _ in self.threads:
            self.ready.acquire()

    def stop(self) -> None:
        """End the threads after the last query."""
        for _ in self.threads:
            self.waiting.put(None)
        for thread in self.threads:
            thread.join()

    def _work(self, call: Call) -> None:
        response, complete = self.mlperf.QuerySampleResponse, self.mlperf.QuerySamplesComplete
        self._try(call, 0)
        self.ready.release()
        while (query := self.waiting.get()) is not None:
            number, index = query
            outputs = self._try(call, index) if self.error is None else None
            complete([response(number, 0, 0)])
            if outputs is not None:
                self.judged[index] = outputs

    def _try(self, call: Call, index: int) -> Arrays | None:
        try:
            return call(index)
        except BaseException as error:
            self.error = error
            return None
