"""Reports a comparison to CI: report files, GitHub annotations, and GitHub step outputs.

The source is the JSON value of `evenbench compare`, so a later job can repeat every report from
the results file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evenbench.harness.comparison import junit, markdown_summary, sarif
from evenbench.harness.comparison.findings import LEVELS, ComparisonFinding, findings, numbers_of
from evenbench.harness.comparison.verdicts import LATENCY
from evenbench.harness.core.errors import UsageError

MOST_ANNOTATIONS = 9
"""Annotations of each level: GitHub shows ten per step, and the tenth counts the rest."""

COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}
"""GitHub's workflow command for each SARIF level."""

FORMATS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "junit": junit.text,
    "sarif": lambda comparison: json.dumps(sarif.log(comparison), indent=1),
    "summary": markdown_summary.text,
}


def check(files: Mapping[str, str]) -> None:
    """Raise UsageError for report files that cannot be written, before anything is measured.

    Folders are created; existing files are left as they are.
    """
    for kind, name in files.items():
        path = Path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            existed = path.exists()
            with path.open("a", encoding="utf-8"):
                pass
            if not existed:
                path.unlink()
        except OSError as error:
            raise UsageError(
                f"--{kind} {name} cannot be written ({error.strerror}); "
                "name a file in a writable folder"
            ) from error


def write(comparison: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
    """Write report files, `{"junit": path, ...}`, with their folders. Returns the paths."""
    for kind, path in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(FORMATS[kind](comparison), encoding="utf-8")
    return [str(Path(path)) for path in files.values()]


def workflow_commands(comparison: Mapping[str, Any]) -> list[str]:
    """GitHub's workflow commands that annotate each finding, at most ten of a level."""
    by_level: dict[str, list[ComparisonFinding]] = {}
    for finding in findings(comparison):
        by_level.setdefault(LEVELS[finding.kind], []).append(finding)
    return [
        line for level, group in by_level.items() for line in _annotations(COMMANDS[level], group)
    ]


def _annotations(command: str, group: list[ComparisonFinding]) -> list[str]:
    lines = [
        f"::{command} {_location(finding)}title={_property(f'evenbench: {finding.cell}')}"
        f"::{_data(finding.words)}"
        for finding in group[:MOST_ANNOTATIONS]
    ]
    rest = len(group) - MOST_ANNOTATIONS
    if rest > 0:
        lines.append(f"::{command} title=evenbench::and {rest} more, see the summary")
    return lines


def _location(finding: ComparisonFinding) -> str:
    line = f"line={finding.line}," if finding.line else ""
    return f"file={_property(finding.file)},{line}" if finding.file else ""


def write_outputs(comparison: Mapping[str, Any]) -> None:
    """Write the outputs of a GitHub step, `exit` and `worst-ratio`; does nothing elsewhere.

    `worst-ratio` is the largest latency ratio, head over base, of all cells.
    """
    file = os.environ.get("GITHUB_OUTPUT")
    if not file:
        return
    cells = [
        result
        for result in comparison["cells"]
        if not result["control"] and LATENCY in result["metrics"]
    ]
    ratios = [numbers_of(result["metrics"][LATENCY])["ratio"] for result in cells]
    with Path(file).open("a", encoding="utf-8") as stream:
        stream.write(f"exit={comparison['exit']}\nworst-ratio={max(ratios, default=1.0):.4f}\n")


def _data(text: str) -> str:
    """Escape the message of a workflow command (actions/toolkit, packages/core/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property of a workflow command, by the same source."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
