"""A comparison as SARIF 2.1.0, for code scanning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from evenbench.harness import __version__
from evenbench.harness.comparison.findings import LEVELS, RULES, ComparisonFinding, findings

HELP = (
    "Base and head were measured in pairs of processes; a worse or better metric was confirmed by "
    "a second set of pairs. To repeat the measurement on your machine: "
    "evenbench compare BASE HEAD --cell CELL"
)
"""The help text of every rule in the file."""


def log(comparison: Mapping[str, Any], file: str = "benchmarks") -> dict[str, Any]:
    """The SARIF log: a result per finding, located at the declaration of the cell.

    `file` is the location of cells with an unknown declaration. The category of the run is the
    machine, so alerts of one machine do not close alerts of another.
    """
    words = str(comparison.get("machine", "unknown machine")).lower()
    machine = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
    run = {
        "tool": {"driver": _driver()},
        "automationDetails": {"id": f"evenbench/compare/{machine}/"},
        "results": [_result(finding, file) for finding in findings(comparison)],
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }


def _driver() -> dict[str, Any]:
    rules = [
        {
            "id": f"evenbench/{kind}",
            "name": f"Evenbench{kind.capitalize()}",
            "shortDescription": {"text": words},
            "help": {"text": HELP},
            "defaultConfiguration": {"level": LEVELS[kind]},
        }
        for kind, words in RULES.items()
    ]
    return {
        "name": "evenbench",
        "version": __version__,
        "informationUri": "https://pypi.org/project/evenbench/",
        "rules": rules,
    }


def _result(finding: ComparisonFinding, file: str) -> dict[str, Any]:
    return {
        "ruleId": f"evenbench/{finding.kind}",
        "ruleIndex": list(RULES).index(finding.kind),
        "level": LEVELS[finding.kind],
        "baselineState": finding.state,
        "message": {"text": f"{finding.cell}: {finding.words}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(finding.file or file)},
                    "region": {"startLine": finding.line or 1},
                },
                "logicalLocations": [{"fullyQualifiedName": finding.cell}],
            }
        ],
        # Stable over commits, so code scanning tracks and closes an alert.
        "partialFingerprints": {"evenbenchCell/v1": finding.fingerprint},
        "properties": {"cell": finding.cell, "metric": finding.metric, **finding.numbers},
    }
