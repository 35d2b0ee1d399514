"""The search over commits, and its conclusion in words; verdicts are invented."""

from __future__ import annotations

import time
from typing import Any

from evenbench.harness.comparison import bisection
from evenbench.harness.comparison.binary_search import INCONCLUSIVE, NOT_WORSE, SKIPPED, WORSE
from evenbench.harness.comparison.bisection import BisectionSearch
from evenbench.harness.comparison.bisection_step import StepVerdict
from evenbench.harness.comparison.git import Commit
from evenbench.harness.comparison.side_process import Side
from tests.unit.comparison.bisection_settings import settings


def commit(index: int, parents: int = 1) -> Commit:
    return Commit(f"{index:040d}", "2026-01-01", f"change {index}", parents)


def search(judge: dict[int, StepVerdict], count: int = 8, **more: Any) -> BisectionSearch:
    """A search over `count` commits whose last is worse, by the given trials."""
    bisected = BisectionSearch(
        Side("good"),
        [commit(index) for index in range(count)],
        settings(**more),
        lambda words: None,
        "c",
    )
    bisected.steps.append(bisection.BisectionStep(bisected.commits[-1], WORSE, "latency +10 %"))
    bisected._verdict = lambda found: judge[int(found.sha)]  # type: ignore[method-assign]
    return bisected


def test_the_first_worse_commit_is_reported_with_its_change() -> None:
    bisected = search(
        {
            index: StepVerdict(WORSE if index >= 3 else NOT_WORSE, f"latency of {index}")
            for index in range(8)
        }
    )
    found = bisection.record(commit(99), bisected, bisected.narrow())
    assert found["first"]["subject"] == "change 3"
    assert found["words"] == [
        "00000000 change 3 is the first commit at which the latency of c is worse: latency of 3"
    ]


def test_a_range_is_reported_with_a_reason_for_each_suspect() -> None:
    judge = {index: StepVerdict(WORSE if index >= 3 else NOT_WORSE, "") for index in range(8)}
    bisected = search(
        {
            **judge,
            3: StepVerdict(SKIPPED, "cannot be built"),
            2: StepVerdict(INCONCLUSIVE, "latency +2 %"),
        }
    )
    found = bisection.record(commit(99), bisected, bisected.narrow())
    assert found["first"] is None
    assert [suspect["subject"] for suspect in found["suspects"]] == [
        "change 2",
        "change 3",
        "change 4",
    ]
    assert "  00000000 change 3: skipped: cannot be built" in found["words"]
    assert "skipped: 00000000 change 3" in found["words"]
    assert "--most allows more pairs for inconclusive steps" in found["words"]


def test_the_time_limit_leaves_the_range_so_far() -> None:
    bisected = search({}, deadline=time.monotonic() - 1)
    found = bisection.record(commit(99), bisected, bisected.narrow())
    assert (len(found["suspects"]), found["stopped"], found["first"]) == (8, True, None)
    assert (
        "the time budget ran out; raise --budget, or start between the suspects" in found["words"]
    )


def test_ends_without_a_difference_are_reported() -> None:
    bisected = search({})
    bisected.steps = [bisection.BisectionStep(commit(7), NOT_WORSE, "latency +0.1 %")]
    (words,) = bisection.record(commit(99), bisected, None)["words"]
    assert words == (
        "00000000 to 00000000 does not show the step: c is not worse: latency +0.1 %; "
        "nothing was searched"
    )


def test_a_merge_is_named() -> None:
    bisected = search({})
    bisected.steps = [bisection.BisectionStep(commit(7, parents=2), WORSE, "latency +10 %")]
    words = bisection.conclusion(commit(99), bisected, [commit(7, parents=2)], stopped=False)
    assert "00000000 is a merge: `git log 00000000^1..00000000` lists its commits" in words
