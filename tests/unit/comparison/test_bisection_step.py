"""The verdict of one step of a bisection, and repeated measurements of inconclusive cells."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.comparison import bisection_step
from evenbench.harness.comparison.binary_search import INCONCLUSIVE, NOT_WORSE, SKIPPED, WORSE
from evenbench.harness.comparison.bisection_step import BisectionSettings, StepVerdict
from evenbench.harness.comparison.side_process import Side
from evenbench.harness.comparison.sides import SidePair
from tests.unit.comparison.bisection_settings import settings


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
    assert bisection_step.verdict_of(judged, "latency").answer == answer


def test_an_alarm_of_the_control_makes_a_step_inconclusive() -> None:
    found = bisection_step.verdict_of(result("slower", 1.08, 1.12), "latency", control_alarmed=True)
    assert found.answer == INCONCLUSIVE
    assert "null control" in found.words


def test_a_search_for_errors_finds_wrong_outputs() -> None:
    assert bisection_step.verdict_of(
        result("equivalent", 1, 1, wrong=["", "is off"]), "error"
    ) == StepVerdict(WORSE, "wrong outputs: is off")


@pytest.mark.parametrize(
    ("pairs", "most", "wanted"), [(30, 120, [30, 60, 120]), (8, 8, [8]), (30, 100, [30, 60])]
)
def test_inconclusive_doubles_the_pairs_up_to_the_limit(
    pairs: int, most: int, wanted: list[int]
) -> None:
    assert list(bisection_step.pair_limits(pairs, most)) == wanted


@pytest.mark.parametrize(
    ("answers", "more", "wanted"),
    [
        ([INCONCLUSIVE, INCONCLUSIVE, INCONCLUSIVE], {}, [30, 60, 120]),
        ([INCONCLUSIVE, WORSE], {}, [30, 60]),
        ([NOT_WORSE], {}, [30]),
        ([INCONCLUSIVE], {"deadline": 0.0}, [30]),
    ],
)
def test_only_inconclusive_cells_are_measured_again(
    answers: list[Any], more: dict[str, Any], wanted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []

    def measure(
        pair: SidePair, settings: BisectionSettings, most: int, attempt: int
    ) -> tuple[dict[str, StepVerdict], Path]:
        limits.append(most)
        return {"c": StepVerdict(answers[attempt], "")}, Path(f"{attempt}.json")

    monkeypatch.setattr(bisection_step, "_measure", measure)
    found = bisection_step.judge_cells(
        SidePair(Side("good"), Side("bad"), {"c": "c"}), settings(**more)
    )["c"]
    assert limits == wanted
    assert found.answer == answers[-1]
    assert found.files == tuple(f"{attempt}.json" for attempt in range(len(wanted)))
