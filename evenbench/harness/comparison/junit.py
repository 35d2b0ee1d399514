"""A comparison as JUnit XML, for the test report of CI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evenbench.harness.comparison.findings import ComparisonFinding, of_cell

if TYPE_CHECKING:
    from junitparser import TestCase


def text(comparison: Mapping[str, Any]) -> str:
    """The XML: a suite per comparison, a case per cell.

    A worse or wrong cell is a failure, an unmeasured cell an error, and an inconclusive cell
    skipped.
    """
    from junitparser import JUnitXml, TestSuite

    suite = TestSuite(f"evenbench {comparison['base']} against {comparison['head']}")
    for name in ("base", "head", "seed", "exit"):
        suite.add_property(name, str(comparison[name]))
    for result in comparison["cells"]:
        suite.add_testcase(_case(result))
    report = JUnitXml("evenbench")
    report.add_testsuite(suite)
    xml = report.tostring()  # type: ignore[no-untyped-call]
    return xml.decode() if isinstance(xml, bytes) else str(xml)


def _case(result: Mapping[str, Any]) -> TestCase:
    from junitparser import Skipped, TestCase

    name = f"{result['cell']} (control)" if result["control"] else result["cell"]
    seconds = sum(pair["seconds"] for pair in result["pairs"])
    case = TestCase(name, "evenbench.compare", seconds)
    entries = [entry for finding in of_cell(result) if (entry := _entry(finding))]
    # Readers count a case twice if the case is both failed and skipped.
    failures = [entry for entry in entries if not isinstance(entry, Skipped)]
    case.result = failures or entries[:1]
    return case


def _entry(finding: ComparisonFinding) -> Any:
    """The `Error`, `Failure` or `Skipped` of a finding; None for an improvement."""
    from junitparser import Error, Failure, Skipped

    kinds = {"failed": Error, "worse": Failure, "wrong": Failure, "open": Skipped}
    kind = {**kinds, "control": Skipped}.get(finding.kind)
    repeats_metric = not finding.metric or finding.metric in finding.words
    message = finding.words if repeats_metric else f"{finding.metric}: {finding.words}"
    return kind(message, finding.kind) if kind else None
