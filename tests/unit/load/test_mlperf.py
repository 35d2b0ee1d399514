"""MLCommons' load generator, the real one, on answers that sleep: its arrivals, its verdict, and
what a stalled session looks like.
"""

from __future__ import annotations

import builtins
import importlib.util
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Unavailable
from evenbench.harness.load import mlperf
from evenbench.harness.load.scenarios import SERVER, Scenario

MS = 1_000_000
needed = pytest.mark.skipif(
    bool(mlperf.lacks()), reason=f"needs {mlperf.DISTRIBUTION}; {mlperf.HINT}"
)


def scenario(bound_ms: float, **more: Any) -> Scenario:
    return Scenario(SERVER, seconds=0.4, bound_ns=round(bound_ms * MS), callers=(1,), **more)


class Answers:
    """Answers with the index; sleeps for each, or raises."""

    def __init__(self, seconds: float, raises: int = -1) -> None:
        self.seconds, self.raises = seconds, raises
        self.calls = 0

    def __call__(self, index: int) -> Mapping[str, Any]:
        self.calls += 1
        if self.calls == self.raises:
            raise RuntimeError("the runtime gave up")
        time.sleep(self.seconds)
        return {"y": np.array([index])}


class Stalls(Answers):
    """Sleeps for 0.4 s in its fiftieth call after the run before the arrivals, which has left its
    outputs in `kept`.
    """

    def __init__(self, kept: Mapping[str, Any]) -> None:
        super().__init__(0.0001)
        self.judged, self.left = kept, 50

    def __call__(self, index: int) -> Mapping[str, Any]:
        if "Offline" in self.judged:
            self.left -= 1
        if self.left == 0:
            time.sleep(0.4)
        return super().__call__(index)


@needed
def test_a_stalled_call_makes_all_that_wait_behind_it_late() -> None:
    """Coordinated omission: a caller that waits for its answer before it asks again would record
    one late call of 663.
    """
    kept: dict[str, Any] = {}
    found = mlperf.judge(scenario(50, rate_per_second=1500.0), [Stalls(kept)], 3, 0.2 * MS, kept)
    run = found["runs"][-1]
    assert (run["scenario"], run["verdict"]) == ("Server", "INVALID")
    assert run["too_late"] > 100, (
        "at 1500 arrivals per second some 500 come while the session stalls"
    )
    assert run["max_ns"] > 390 * MS
    assert run["p50_ns"] is not None
    assert found["rate_per_second"] is None
    assert "queries" in found["reason"], "the generator's own words"


@needed
def test_a_rate_that_is_kept_is_valid() -> None:
    kept: dict[str, Any] = {}
    found = mlperf.judge(scenario(500, rate_per_second=600.0), [Answers(0.0002)], 3, 0.3 * MS, kept)
    assert [run["scenario"] for run in found["runs"]] == ["SingleStream", "Offline", "Server"]
    assert found["runs"][-1]["verdict"] == "VALID", found["runs"][-1]
    assert (found["rate_per_second"], found["reason"]) == (600.0, "")
    assert found["runs"][-1]["offered_per_second"] == pytest.approx(600, rel=0.25)
    assert all(
        {index: int(outputs["y"][0]) for index, outputs in each.items()} == {0: 0, 1: 1, 2: 2}
        for each in kept.values()
    )


@needed
def test_a_bound_below_a_single_call_ends_without_a_search() -> None:
    found = mlperf.judge(scenario(0.1), [Answers(0.001)], 3, 1.0 * MS, {})
    assert found["rate_per_second"] is None
    assert "no rate can be valid" in found["reason"]
    assert [run["scenario"] for run in found["runs"]] == ["SingleStream", "Offline"]


@needed
@pytest.mark.parametrize("call", [1, 20])
def test_what_an_answer_raises_ends_the_run_and_is_raised(call: int) -> None:
    with pytest.raises(RuntimeError, match="gave up"):
        mlperf.judge(scenario(50), [Answers(0.0001, raises=call)], 3, 0.2 * MS, {})


def test_without_it_the_scenario_is_unavailable_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == mlperf.MODULE else real(name, *rest),
    )
    with pytest.raises(
        Unavailable, match=r"mlcommons-loadgen.*not installed; pip install 'evenbench\[load\]'"
    ):
        mlperf.load_generator()


def test_looking_for_it_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def watched(name: str, *rest: Any, **more: Any) -> Any:
        assert name != mlperf.MODULE
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", watched)
    mlperf.lacks()
