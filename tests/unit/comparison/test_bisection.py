"""What a judged cell says to a bisection, how often it asks again, and how its end is told;
sessions are made up.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest

from harness.comparison import bisection
from harness.comparison.bisection import (
    INCONCLUSIVE,
    NOT_WORSE,
    SKIPPED,
    WORSE,
    Asked,
    Search,
    Trial,
)
from harness.comparison.git import Commit
from harness.comparison.side_process import Side
from harness.comparison.sides import Pair
from harness.core.types import PLANS
from harness.statistics import paired_test

CONFIRMED = {"verdict": "slower", "ratio": 1.1, "low": 1.08, "high": 1.12, "needed_pairs": None}


def result(verdict: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    """A judged cell whose latency lies between `low` and `high`."""
    screen = {
        "verdict": verdict,
        "ratio": math.sqrt(low * high),
        "low": low,
        "high": high,
        "needed_pairs": None,
    }
    metric = {"verdict": verdict, "margin": 0.02, "screen": screen, "confirmation": None}
    found = {
        "cell": "c",
        "sides": ["good", "head"],
        "control": False,
        "failure": "",
        "wrong": ["", ""],
        "pairs": [1, 2],
    }
    return {**found, "metrics": {"latency": metric}, **more}


@pytest.mark.parametrize(
    ("judged", "answer"),
    [
        (result("slower", 1.08, 1.12), WORSE),
        (result("equivalent", 0.99, 1.01), NOT_WORSE),
        (result("faster", 0.8, 0.9), NOT_WORSE),
        (result("inconclusive", 0.95, 1.015), NOT_WORSE),
        (result("inconclusive", 1.0, 1.04), INCONCLUSIVE),
        (result("", 1, 1, metrics={}), INCONCLUSIVE),
        (result("", 1, 1, metrics={}, failure="gone"), SKIPPED),
        (result("slower", 1.08, 1.12, wrong=["", "is off"]), SKIPPED),
        (result("slower", 1.08, 1.12, wrong=["is off", ""]), SKIPPED),
    ],
)
def test_a_step_has_one_of_four_ends(judged: dict[str, Any], answer: str) -> None:
    assert bisection.trial_of(judged, "latency").answer == answer


def test_a_restless_control_makes_a_step_inconclusive() -> None:
    found = bisection.trial_of(result("slower", 1.08, 1.12), "latency", restless=True)
    assert found.answer == INCONCLUSIVE
    assert "null control" in found.words


def test_a_wrong_answer_is_what_a_search_for_errors_finds() -> None:
    assert bisection.trial_of(result("equivalent", 1, 1, wrong=["", "is off"]), "error") == Trial(
        WORSE, "gives wrong answers: is off"
    )


@pytest.mark.parametrize(
    ("pairs", "most", "wanted"), [(30, 120, [30, 60, 120]), (8, 8, [8]), (30, 100, [30, 60])]
)
def test_inconclusive_doubles_the_pairs_up_to_the_limit(
    pairs: int, most: int, wanted: list[int]
) -> None:
    assert list(bisection.attempts(pairs, most)) == wanted


def asked(**more: Any) -> Asked:
    found = {
        "deadline": math.inf,
        "words": [],
        "metric": "latency",
        "rule": paired_test.Rule(),
        "most": 120,
        "plan": PLANS["quick"],
        "seed": 0,
    }
    return Asked(
        **{**found, "folder": Path("results"), "known": {}, "listen": lambda progress: None, **more}
    )


@pytest.mark.parametrize(
    ("answers", "more", "wanted"),
    [
        ([INCONCLUSIVE, INCONCLUSIVE, INCONCLUSIVE], {}, [30, 60, 120]),
        ([INCONCLUSIVE, WORSE], {}, [30, 60]),
        ([NOT_WORSE], {}, [30]),
        ([INCONCLUSIVE], {"deadline": 0.0}, [30]),
    ],
)
def test_only_what_is_inconclusive_is_asked_again(
    answers: list[Any], more: dict[str, Any], wanted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def session(
        pair: Pair, question: Asked, most: int, attempt: int
    ) -> tuple[dict[str, Trial], Path]:
        taken.append(most)
        return {"c": Trial(answers[attempt], "")}, Path(f"{attempt}.json")

    monkeypatch.setattr(bisection, "_session", session)
    found = bisection.trials(Pair(Side("good"), Side("bad"), {"c": "c"}), asked(**more))["c"]
    assert taken == wanted
    assert found.answer == answers[-1]
    assert found.files == tuple(f"{attempt}.json" for attempt in range(len(wanted)))


def commit(index: int, parents: int = 1) -> Commit:
    return Commit(f"{index:040d}", "2026-01-01", f"change {index}", parents)


def search(judge: dict[int, Trial], count: int = 8, **more: Any) -> Search:
    """A search over `count` commits whose last is worse, by the given trials."""
    made = Search(
        Side("good"),
        [commit(index) for index in range(count)],
        asked(**more),
        lambda words: None,
        "c",
    )
    made.steps.append(bisection.Step(made.commits[-1], WORSE, "latency +10 %"))
    made._trial = lambda found: judge[int(found.sha)]  # type: ignore[method-assign]
    return made


def test_one_commit_is_told_with_what_it_did() -> None:
    made = search(
        {
            index: Trial(WORSE if index >= 3 else NOT_WORSE, f"latency of {index}")
            for index in range(8)
        }
    )
    found = bisection.told(commit(99), made, made.narrowed())
    assert found["first"]["subject"] == "change 3"
    assert found["words"] == [
        "00000000 change 3 is the first commit at which the latency of c is worse: latency of 3"
    ]


def test_a_range_is_told_with_why_each_is_a_suspect() -> None:
    judge = {index: Trial(WORSE if index >= 3 else NOT_WORSE, "") for index in range(8)}
    made = search(
        {**judge, 3: Trial(SKIPPED, "cannot be built"), 2: Trial(INCONCLUSIVE, "latency +2 %")}
    )
    found = bisection.told(commit(99), made, made.narrowed())
    assert found["first"] is None
    assert [each["subject"] for each in found["suspects"]] == ["change 2", "change 3", "change 4"]
    assert "  00000000 change 3: skipped: cannot be built" in found["words"]
    assert "skipped: 00000000 change 3" in found["words"]
    assert "--most allows more pairs for what is inconclusive" in found["words"]


def test_without_time_the_range_so_far_is_the_answer() -> None:
    made = search({}, deadline=time.monotonic() - 1)
    found = bisection.told(commit(99), made, made.narrowed())
    assert (len(found["suspects"]), found["stopped"], found["first"]) == (8, True, None)
    assert "the budget was over; raise --budget, or begin between the suspects" in found["words"]


def test_ends_that_do_not_differ_are_told() -> None:
    made = search({})
    made.steps = [bisection.Step(commit(7), NOT_WORSE, "latency +0.1 %")]
    (words,) = bisection.told(commit(99), made, None)["words"]
    assert (
        words
        == "00000000 to 00000000 does not show the step: c is not worse: latency +0.1 %; nothing was searched"
    )


def test_a_merge_is_told_as_one() -> None:
    made = search({})
    made.steps = [bisection.Step(commit(7, parents=2), WORSE, "latency +10 %")]
    words = bisection.words_of(commit(99), made, [commit(7, parents=2)], stopped=False)
    assert "it is a merge: `git log 00000000^1..00000000` lists what it brought" in words
