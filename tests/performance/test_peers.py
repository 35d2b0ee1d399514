"""The ways of `make bench-peers`: intervals, the stop, and one real process of each peer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.models import DIGITS_CNN
from evenbench.harness.inputs import batches
from tests.performance import bench_peers, peer_process
from tests.performance.bench_peers import Limits
from tests.performance.peer_intervals import EAGER, ORT, Interval, Samples, Trial

SPECS = {EAGER: {"backend": EAGER}, ORT: {"backend": ORT}}


def ticks(step: float) -> Iterator[float]:
    """A clock that advances by `step` at each reading."""
    time = 0.0
    while True:
        yield time
        time += step


def test_pairs_have_students_interval_of_their_log_ratios() -> None:
    samples = Samples({EAGER: [2.0, 2.2, 2.1], ORT: [1.0, 1.0, 1.0]})
    logs = np.log([2.0, 2.2, 2.1])
    interval = samples.paired()
    assert interval.log == pytest.approx(logs.mean())
    assert interval.half == pytest.approx(4.302653 * logs.std(ddof=1) / math.sqrt(3), rel=1e-5)
    assert Samples({EAGER: [2.0], ORT: [1.0]}).paired().half == math.inf


def test_blocks_have_welchs_interval() -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    eager, ort = np.exp(0.05 * rng.standard_normal(12) + 1), np.exp(0.2 * rng.standard_normal(10))
    interval = Samples({EAGER: list(eager), ORT: list(ort)}).welch()
    expected = stats.ttest_ind(np.log(eager), np.log(ort), equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert interval.log == pytest.approx((low + high) / 2)
    assert interval.half == pytest.approx((high - low) / 2)
    assert Samples({EAGER: [2.0], ORT: [1.0]}).welch().half == math.inf


def test_a_way_stops_at_the_first_narrow_interval_of_three_repetitions() -> None:
    def once(spec: Any) -> float:
        return 2.0 if spec["backend"] == EAGER else 1.0

    clock = ticks(7.0)
    limits = Limits(0.03, 1000.0)
    trial = bench_peers.repeated("way", once, SPECS, limits, now=lambda: next(clock))
    assert (trial.interval.repetitions, trial.is_precise, trial.seconds) == (3, True, 21.0)
    assert trial.interval.log == pytest.approx(math.log(2))


def test_a_way_without_an_end_stops_at_the_limit() -> None:
    rng = np.random.default_rng(0)
    clock = ticks(10.0)
    limits = Limits(0.001, 45.0)
    trial = bench_peers.repeated(
        "way", lambda spec: rng.uniform(1, 2), SPECS, limits, block=10, now=lambda: next(clock)
    )
    assert not trial.is_precise
    assert (trial.interval.repetitions, trial.seconds) == (50, 50.0)


def test_the_loop_warms_up_and_takes_both_limits() -> None:
    calls: list[int] = []
    clock = ticks(1.0)
    mean = peer_process.mean_seconds(lambda: calls.append(1), 3, 5.0, lambda: next(clock))
    assert (mean, len(calls)) == (1.0, peer_process.WARM_UPS + 5)


def test_the_table_has_medians_of_each_way() -> None:
    way, other, *_ = bench_peers.WAYS
    precise = Interval(math.log(1.5), math.log(1.02), 4)
    trials = [
        Trial(way, 20.0, precise, True),
        Trial(way, 30.0, precise, True),
        Trial(other, 600.0, Interval(math.log(1.4), math.inf, 1), False),
    ]
    rows = bench_peers.markdown(trials).splitlines()[2:]
    assert rows[0] == f"| {way} | 25 s | 20 to 30 s | 2 of 2 | 4 | ±2.0 % | 1.500× |"
    assert rows[1].endswith("| 0 of 1 | 1 | unknown | 1.400× |")


@pytest.mark.parametrize("way", ["script", "pytest-benchmark"])
def test_a_process_of_a_peer_times_a_prepared_cell(way: str, tmp_path: Path) -> None:
    (spec,) = DIGITS_CNN.inputs
    np.save(tmp_path / batches.file_of(spec.name), np.zeros((1, *spec.concrete(1)), np.float32))
    cell = {
        "model": "digits_cnn",
        "backend": "null",
        "artifact": str(tmp_path),
        "inputs": str(tmp_path),
    }
    once = bench_peers.by_pytest_benchmark if way != "script" else bench_peers.by_loop(way)
    assert 0 < once(cell) < 0.1
