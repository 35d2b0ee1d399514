"""The planner: lessons from earlier comparisons, and a budget that goes where it buys most."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness.comparison import budget, recording
from evenbench.harness.comparison.budget import Past
from evenbench.harness.core.errors import UsageError
from evenbench.harness.statistics import paired_test
from evenbench.harness.statistics.paired_test import Rule

STEADY = Past(between=0.01, within=0.02, pair_seconds=2.0, sample_seconds=0.02)
RESTLESS = Past(between=0.05, within=0.05, pair_seconds=2.0, sample_seconds=0.02)


def pair(ratio: float, within: float = 0.01, rng: Any = None) -> dict[str, Any]:
    rng = rng or np.random.default_rng(0)
    base = np.full(12, 5e6)
    head = base * np.exp(ratio + rng.normal(0, within, 12))
    return {
        "log_ratios": {"latency": ratio},
        "times_ns": [base.tolist(), head.tolist()],
        "number": 2,
        "seconds": 3.0,
    }


def comparison(ratios: list[float], control: bool = False, centre: float = 0.0) -> dict[str, Any]:
    metrics = {"latency": {"screen": {"ratio": math.exp(centre)}}}
    return {
        "cells": [
            {
                "cell": "c",
                "control": control,
                "pairs": [pair(ratio) for ratio in ratios],
                "metrics": metrics,
            }
        ]
    }


def test_spreads_and_costs_are_read_from_what_was_recorded() -> None:
    rng = np.random.default_rng(1)
    ratios = list(rng.normal(0.0, 0.03, 400))
    (found,) = budget.pasts([comparison(ratios)]).values()
    assert found.between == pytest.approx(0.03, rel=0.15)
    assert found.within == pytest.approx(0.01, rel=0.5)
    assert found.pair_seconds == 3.0
    assert found.sample_seconds == pytest.approx(2 * 2 * 5e-3, rel=0.05)


def test_an_effect_between_two_sessions_is_no_spread() -> None:
    rng = np.random.default_rng(2)
    noise = list(rng.normal(0.0, 0.01, 40))
    both = [comparison(noise), comparison([value + 0.5 for value in noise])]
    assert budget.pasts(both)["c"].between == pytest.approx(0.01, rel=0.4)


def test_a_cell_with_too_few_pairs_is_not_known() -> None:
    assert budget.pasts([comparison([0.0, 0.01, 0.02])]) == {}
    assert budget.pasts([]) == {}


def test_the_margin_grows_with_what_base_against_base_came_to() -> None:
    quiet = Past(0.01, 0.01, 1.0, 0.01, nulls=tuple([0.001, -0.001] * 5))
    wild = Past(0.01, 0.01, 1.0, 0.01, nulls=tuple([0.03, -0.03] * 5))
    few = Past(0.01, 0.01, 1.0, 0.01, nulls=(0.2, -0.2))
    rule = Rule()
    assert (
        budget.margin_for(quiet, rule)
        == budget.margin_for(few, rule)
        == budget.margin_for(None, rule)
        == 0.02
    )
    assert budget.margin_for(wild, rule) == pytest.approx(math.expm1(3 * 1.4826 * 0.03))


def test_what_other_machines_or_broken_files_say_is_not_planned_with(tmp_path: Path) -> None:
    whole = {
        **comparison([0.0] * 8, control=True),
        "compare": 1,
        "machine": recording.this_machine(),
    }
    torn: dict[str, Any] = {
        "cell": "c",
        "control": False,
        "pairs": [{"log_ratios": {}}] * 8,
        "metrics": {},
    }
    files: dict[str, Any] = {
        "1": {**whole, "seed": 1},
        "2": {**whole, "machine": "another, 64 cores"},
        "3": {"compare": 1, "machine": recording.this_machine()},
        "4": [],
        "5": {**whole, "cells": [torn]},
        "6": {**whole, "seed": 6},
    }
    for name, value in files.items():
        (tmp_path / f"compare-{name}.json").write_text(json.dumps(value))
    (tmp_path / "compare-7.json").write_text('{"compare": 1, "ce')
    assert [found["seed"] for found in recording.earlier(tmp_path)] == [1, 6]
    for number in range(30):
        (tmp_path / f"compare-8{number:02d}.json").write_text(
            json.dumps({**whole, "seed": 100 + number})
        )
    assert [found["seed"] for found in recording.earlier(tmp_path)] == list(range(110, 130))


def test_a_budget_goes_to_the_cell_that_needs_it() -> None:
    given = budget.allot(
        ["steady", "restless"], {"steady": STEADY, "restless": RESTLESS}, 100.0, Rule()
    )
    assert given["restless"].pairs > given["steady"].pairs >= paired_test.FEWEST_PAIRS
    assert (
        sum(each.seconds for each in given.values())
        <= 75.0
        < sum(each.seconds for each in given.values()) + 2.0
    )


def test_more_budget_never_sees_less() -> None:
    rule = Rule()
    seen = [
        budget.allot(["c"], {"c": RESTLESS}, seconds, rule)["c"].detectable
        for seconds in (25.0, 40.0, 60.0, 200.0)
    ]
    assert seen == sorted(seen, reverse=True)
    assert budget.allot(["c"], {"c": RESTLESS}, 1e6, rule)["c"].pairs == rule.most


def test_what_it_promises_is_what_the_gate_finds() -> None:
    found = budget.allotment(STEADY, 12, Rule(), known=True)
    drawn = np.random.default_rng(3).normal(
        math.log1p(found.detectable), STEADY.between, (20_000, 12)
    )
    assert np.mean(paired_test.verdicts(drawn, Rule()) == "slower") == pytest.approx(0.8, abs=0.02)


def test_a_budget_that_is_too_short_is_refused_with_what_is_needed() -> None:
    with pytest.raises(UsageError, match=r"too short for 3 cells.*take about 64 s"):
        budget.allot(["a", "b", "c"], dict.fromkeys("abc", STEADY), 30.0, Rule())


def test_a_cell_without_history_is_planned_and_says_so() -> None:
    given = budget.allot(["new"], {}, 600.0, Rule())
    assert not given["new"].known
    assert given["new"].pairs == Rule().most


def test_samples_balance_what_a_process_costs_against_what_it_adds() -> None:
    costly = Past(between=0.01, within=0.05, pair_seconds=30.0, sample_seconds=0.01)
    cheap = Past(between=0.05, within=0.01, pair_seconds=0.5, sample_seconds=0.02)
    assert budget.samples_for(costly) == budget.MOST_SAMPLES
    assert budget.samples_for(cheap) == budget.FEWEST_SAMPLES
    assert budget.samples_for(STEADY) % 2 == 0
