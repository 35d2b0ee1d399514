"""Invented comparisons for the tests of reports."""

from __future__ import annotations

import math
from typing import Any


def metric(verdict: str, change: float = 0.0) -> dict[str, Any]:
    ratio = math.exp(change)
    found = {
        "verdict": verdict,
        "ratio": ratio,
        "low": ratio * 0.99,
        "high": ratio * 1.01,
        "needed_pairs": 40,
    }
    confirmed = found if verdict in ("slower", "faster") else None
    return {"verdict": verdict, "margin": 0.02, "screen": found, "confirmation": confirmed}


def result(
    cell: str, control: bool = False, failure: str = "", wrong: str = "", **metrics: dict[str, Any]
) -> dict[str, Any]:
    pairs = [{"seconds": 2.0}] * 8
    sides = ["base", "head"]
    return {
        "cell": cell,
        "control": control,
        "failure": failure,
        "wrong": [wrong, ""],
        "metrics": metrics,
        "sides": sides,
        "pairs": pairs,
    }


def comparison(*cells: dict[str, Any], code: int = 1) -> dict[str, Any]:
    return {
        "base": "main",
        "head": "<b>|x",
        "seed": 3,
        "exit": code,
        "notes": [],
        "words": [],
        "cells": list(cells),
    }


EVERYTHING = comparison(
    result("fine", latency=metric("equivalent")),
    result("slow", latency=metric("slower", 0.06)),
    result("slowest", latency=metric("slower", 0.2), memory=metric("equivalent")),
    result("fast", latency=metric("faster", -0.1)),
    result("open", latency=metric("inconclusive", 0.03)),
    result("gone", failure="crashed\nin a long traceback"),
    result("off", wrong="logits are off", latency=metric("equivalent")),
    result("slow", control=True, latency=metric("slower", 0.05)),
)


PLACED = {
    **result("slow", latency=metric("slower", 0.06)),
    "place": {"file": "benchmarks/a, b.py", "line": 7},
}
