"""The parts that result lines of several commands share."""

from __future__ import annotations

from typing import Any

from evenbench.harness.runner import record_parts


def process(verdict: str, needed: float) -> dict[str, Any]:
    return {"parity": {"verdict": verdict, "needed": needed}}


def test_a_failed_verdict_is_worse_than_any_pass() -> None:
    """A verdict `too exact` needs nothing of the tolerance, and still decides the outcome."""
    processes = [process("pass", 0.9), process("too exact", 0.0), process("pass", 0.5)]
    assert record_parts.worst_parity(processes) == {"verdict": "too exact", "needed": 0.0}


def test_among_passes_the_largest_error_is_the_worst() -> None:
    processes = [process("pass", 0.2), process("pass", 0.9), {"parity": None}]
    assert record_parts.worst_parity(processes) == {"verdict": "pass", "needed": 0.9}
    assert record_parts.worst_parity([{"parity": None}]) is None
