"""The speed-up in pytest-benchmark's `extra_info` is formed within rounds."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.harness.plugin.outcomes import over_baseline

DRIFT = (1.0, 5.0, 2.0)
"""The machine's state in each sweep, which hits all members equally."""


def line(backend: str, level_ns: float, group: str = "g", **more: Any) -> dict[str, Any]:
    """A line with a process per sweep and three rounds."""
    laps = [[level_ns * factor * (1 + turn / 100) for turn in range(3)] for factor in DRIFT]
    turns = [
        {"sweep": str(sweep), "members": [], "rounds": [0, 1, 2], "untimed_laps": [1, 1, 1]}
        for sweep in range(len(DRIFT))
    ]
    return {
        "cell": {
            "id": f"m-{backend}",
            "key": backend,
            "backend": backend,
            "group": group,
            "options": {},
        },
        "outcome": "ok",
        "samples_ns": {"compute": laps},
        "blocks": {"compute": [[{"laps": 1}] * 3] * len(DRIFT)},
        "interleaving": turns,
        **more,
    }


def test_drift_of_the_machine_is_no_part_of_the_ratio() -> None:
    eager, ort = line("torch-eager", 3e6), line("ort", 1e6)
    over = over_baseline(ort, [ort, eager])
    assert over is not None
    assert over["baseline"] == "m-torch-eager"
    assert over["ratio"] == pytest.approx(3.0)
    assert over["high"] / over["low"] == pytest.approx(1.0, abs=0.01)


def test_without_a_correct_baseline_of_the_group_there_is_none() -> None:
    ort = line("ort", 1e6)
    others = [
        line("torch-eager", 3e6, group="another"),
        line("torch-eager", 3e6, outcome="mismatch"),
        line("openvino", 2e6),
    ]
    assert over_baseline(ort, [ort, *others]) is None


def test_the_baseline_has_no_ratio_to_itself() -> None:
    eager = line("torch-eager", 3e6)
    assert over_baseline(eager, [eager]) is None
