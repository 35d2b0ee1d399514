"""Settings of a bisection for the tests of steps and searches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from evenbench.harness.comparison.bisection_step import BisectionSettings
from evenbench.harness.core.plans import PLANS
from evenbench.harness.statistics import paired_test


def settings(**more: Any) -> BisectionSettings:
    """Settings of a search for latency, without a time limit."""
    values = {
        "deadline": math.inf,
        "words": [],
        "metric": "latency",
        "rule": paired_test.Rule(),
        "most": 120,
        "plan": PLANS["quick"],
        "seed": 0,
    }
    return BisectionSettings(
        **{
            **values,
            "folder": Path("results"),
            "known": {},
            "listen": lambda progress: None,
            **more,
        }
    )
