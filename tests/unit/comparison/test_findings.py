"""Findings of a comparison, in order."""

from __future__ import annotations

from evenbench.harness.comparison import findings
from tests.unit.comparison.comparisons import EVERYTHING


def test_findings_come_by_kind_and_then_by_size() -> None:
    found = [(finding.kind, finding.cell) for finding in findings.findings(EVERYTHING)]
    assert found == [
        ("worse", "slowest"),
        ("worse", "slow"),
        ("wrong", "off"),
        ("failed", "gone"),
        ("control", "slow"),
        ("open", "open"),
        ("better", "fast"),
    ]
