"""MLCommons' load generator on a session of ours: it decides when queries arrive, times them, and
says whether the run is valid.

A query's latency counts from the moment at which it was scheduled, so that one that waits behind a
stalled session is late as well. Its rules are MLPerf's; the runs are shorter than a submission's
ten minutes, and their results are no MLPerf results.
"""

from __future__ import annotations

import importlib.util
import queue
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import Unavailable
from harness.load import capacity, mlperf_log
from harness.load.scenarios import Scenario

if TYPE_CHECKING:
    from harness.core.backend import Arrays

DISTRIBUTION, MODULE = "mlcommons-loadgen", "mlperf_loadgen"

HINT = "pip install 'evenbench[load]'"

PERCENTILE = 0.99

QUERIES = 662
"""Of one run of the server scenario at least: the fewest from which a p99 may be judged where one
answer was too late, by the rule of MLPerf's early stopping at 99 % confidence."""

FEWEST = 100
"""Queries of a run that only has to find out how many are answered in a second."""

Answer = Callable[[int], "Arrays"]
"""Answers one query, given the number of its batch. Called by one thread only."""


def lacks() -> str:
    """In words, that the load generator is not installed here, or an empty string. Imports nothing."""
    found = importlib.util.find_spec(MODULE) is not None
    return (
        ""
        if found
        else f"the server scenario needs MLCommons' load generator, {DISTRIBUTION}, which is not installed; {HINT}"
    )


def find() -> Any:
    """Its module. Raises Unavailable where it is not installed in this process's environment."""
    if lacks():
        raise Unavailable(lacks())
    return importlib.import_module(MODULE)


def judge(
    scenario: Scenario,
    answers: Sequence[Answer],
    batches: int,
    usual_ns: float,
    kept: dict[str, Mapping[int, Arrays]],
) -> dict[str, Any]:
    """One caller's latency (SingleStream), the most that all of them answer (Offline), and then
    arrivals: at one rate, or a search.

    `answers` has one function per thread; `usual_ns` is what one call took, for the generator to
    plan with. Outputs of the last query of each batch go into `kept` by the run's name. Returns the
    runs, and the highest valid rate or None with the reason.
    """
    runs: list[dict[str, Any]] = []

    def told(name: str, **settings: Any) -> dict[str, Any]:
        found = mlperf_log.verdict(
            _run(
                name,
                answers if name != "SingleStream" else answers[:1],
                batches,
                settings,
                scenario,
                kept,
            )
        )
        runs.append(
            {
                **found,
                **{
                    key: settings[key]
                    for key in ("server_target_qps", "schedule_rng_seed")
                    if key in settings
                },
            }
        )
        return found

    alone = told("SingleStream", single_stream_expected_latency_ns=max(1, int(usual_ns)))
    most = told(
        "Offline", offline_expected_qps=1.5 * len(answers) * 1e9 / usual_ns, min_query_count=FEWEST
    )

    def arrive(rate: float, number: int) -> bool:
        seed = 1000 * scenario.seed + number + 1
        return bool(
            told(
                "Server", server_target_qps=rate, schedule_rng_seed=seed, sample_index_rng_seed=seed
            )["verdict"]
            == "VALID"
        )

    if scenario.rate_per_second:
        valid = arrive(scenario.rate_per_second, 0)
        return {
            "runs": runs,
            "rate_per_second": scenario.rate_per_second if valid else None,
            "reason": runs[-1]["reason"],
        }
    fastest = alone["p50_ns"]
    if fastest is not None and fastest > scenario.bound_ns:
        reason = f"no rate can be valid: half of a single caller's calls take more than {fastest / scenario.bound_ns:.3g} times the bound"
        return {"runs": runs, "rate_per_second": None, "reason": reason}
    rate, reason = capacity.highest_rate(arrive, most["queries_per_second"])
    return {"runs": runs, "rate_per_second": rate, "reason": reason}


def _run(
    name: str,
    answers: Sequence[Answer],
    batches: int,
    settings: Mapping[str, Any],
    scenario: Scenario,
    kept: dict[str, Mapping[int, Arrays]],
) -> dict[str, Any]:
    """One run of the generator; returns the entries of its log. Raises what a call raised."""
    mlperf = find()
    asked = mlperf.TestSettings()
    asked.scenario, asked.mode = getattr(mlperf.TestScenario, name), mlperf.TestMode.PerformanceOnly
    asked.min_duration_ms = max(1, round(scenario.seconds * 1e3))
    asked.min_query_count = QUERIES
    asked.server_target_latency_ns, asked.server_target_latency_percentile = (
        int(scenario.bound_ns),
        PERCENTILE,
    )
    for key, value in settings.items():
        setattr(asked, key, value)
    crew = Crew(mlperf, answers)
    with tempfile.TemporaryDirectory(prefix="evenbench-loadgen-") as folder:
        logs = mlperf.LogSettings()
        logs.log_output.outdir, logs.enable_trace = folder, False
        system = mlperf.ConstructSUT(crew.issue, lambda: None)
        library = mlperf.ConstructQSL(batches, batches, lambda indices: None, lambda indices: None)
        crew.start()
        try:
            mlperf.StartTestWithLogSettings(
                system, library, asked, logs, ""
            )  # no audit: that is a submission's
        finally:
            crew.stop()
            mlperf.DestroyQSL(library)
            mlperf.DestroySUT(system)
        if crew.error:
            raise crew.error
        kept[name] = {**kept.get(name, {}), **crew.kept}
        return mlperf_log.read_log(
            (Path(folder) / "mlperf_log_detail.txt").read_text(encoding="utf-8", errors="replace")
        )


class Crew:
    """Threads that answer queries in the order of their arrival. After an error the rest is waved
    through, so that the run ends.
    """

    def __init__(self, mlperf: Any, answers: Sequence[Answer]) -> None:
        self.mlperf = mlperf
        self.waiting: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self.ready = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self._work, args=(answer,)) for answer in answers]
        self.kept: dict[int, Arrays] = {}
        self.error: BaseException | None = None

    def issue(self, samples: Sequence[Any]) -> None:
        """What the generator calls with every query; returns at once."""
        for sample in samples:
            self.waiting.put((sample.id, sample.index))

    def start(self) -> None:
        """Start the threads, and wait until each of them has answered once: a runtime makes a
        thread's buffers and team then.
        """
        for thread in self.threads:
            thread.start()
        for _ in self.threads:
            self.ready.acquire()

    def stop(self) -> None:
        """Let the threads end when everything is answered."""
        for _ in self.threads:
            self.waiting.put(None)
        for thread in self.threads:
            thread.join()

    def _work(self, answer: Answer) -> None:
        response, complete = self.mlperf.QuerySampleResponse, self.mlperf.QuerySamplesComplete
        try:
            answer(0)
        except BaseException as error:
            self.error = error
        self.ready.release()
        while (asked := self.waiting.get()) is not None:
            number, index = asked
            outputs = None
            try:
                if self.error is None:
                    outputs = answer(index)
            except BaseException as error:
                self.error = error
            complete([response(number, 0, 0)])
            if outputs is not None:
                self.kept[index] = outputs
