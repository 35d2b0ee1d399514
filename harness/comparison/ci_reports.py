"""A comparison for machines and reviewers: JUnit, SARIF 2.1.0, GitHub annotations, and a Markdown
summary.

Everything here is made from the JSON value that `evenbench compare` writes, so that a job can make
it anew from the file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from harness import __version__
from harness.comparison import exit_status
from harness.comparison.verdicts import LATENCY
from harness.core import exit_codes

MARKER = "<!-- evenbench compare -->"
"""First line of the Markdown summary, by which a job of any kind may find its earlier comment."""

SHOWN = 9
"""Annotations of each kind: GitHub shows ten per step, and the tenth says how many more there are.
"""

SUMMARY_BYTES = 60_000
"""Below GitHub's limit of 65,536 characters for a comment, whose body it is; a step's summary may
be longer.
"""

State = Literal["new", "unchanged", "absent"]
Kind = Literal["worse", "wrong", "failed", "control", "open", "better"]
LEVELS: Mapping[Kind, str] = {
    "worse": "error",
    "wrong": "error",
    "failed": "error",
    "control": "warning",
    "open": "warning",
    "better": "note",
}
RULES: Mapping[Kind, str] = {
    "worse": "A metric is confirmed worse than on the base, by more than its margin",
    "wrong": "The answer is not what the model answers, or the runtime did something else than it was asked",
    "failed": "The cell could not be measured",
    "control": "Base against base was found different, or could not be measured: this session's alarms do not count",
    "open": "The pairs that were measured do not decide whether the cell changed",
    "better": "A metric is confirmed better than on the base, by more than its margin",
}

HELP = (
    "Base and head were measured in pairs of processes; what is called worse or better was confirmed by pairs of its own. To see it "
    "on your machine: evenbench compare BASE HEAD --cell CELL"
)
"""With every rule of the SARIF file."""


@dataclass(frozen=True)
class Finding:
    """One thing to tell of one cell. `size` orders findings of a kind, the largest first.

    `file`, relative to the repository's root, and `line` say where the cell is declared: empty and
    0 where that is not known. `state` says how it stands to the base, in SARIF's words, and
    `numbers` holds the ratio with its interval where there is one.
    """

    kind: Kind
    cell: str
    metric: str
    words: str
    size: float = 0.0
    file: str = ""
    line: int = 0
    state: State = "new"
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The same for the same cell and metric in every commit, so that an alert is tracked and
        closed.
        """
        return hashlib.sha256(f"{self.cell} {self.metric} {self.kind}".encode()).hexdigest()


def findings(comparison: Mapping[str, Any]) -> list[Finding]:
    """Everything that is not simply fine, the largest effect of each kind first."""
    found = [_placed(finding, result) for result in comparison["cells"] for finding in _of(result)]
    kinds = list(LEVELS)
    return sorted(found, key=lambda finding: (kinds.index(finding.kind), -finding.size))


def _placed(finding: Finding, result: Mapping[str, Any]) -> Finding:
    place = result.get("place") or {}
    return replace(finding, file=place.get("file") or "", line=place.get("line") or 0)


def _of(result: Mapping[str, Any]) -> Iterator[Finding]:
    cell = str(result["cell"])
    if result["control"]:
        if result["failure"]:
            yield Finding(
                "control",
                cell,
                "",
                f"could not be measured: {str(result['failure']).splitlines()[0]}",
            )
        for name, metric in exit_status.control_alarms(result):
            yield Finding(
                "control",
                cell,
                name,
                exit_status.metric_words(name, metric),
                _size(metric),
                numbers=_numbers(metric),
            )
        return
    if result["failure"]:
        yield Finding("failed", cell, "", str(result["failure"]).splitlines()[0])
    states: tuple[State, State] = ("absent", "new")
    answers = list(zip(result["sides"], result["wrong"], states, strict=False))
    both = all(why for _, why, _ in answers)
    for side, why, state in answers:
        if why:
            yield Finding(
                "wrong", cell, "parity", f"{side}: {why}", state="unchanged" if both else state
            )
    for name, metric in result["metrics"].items():
        kinds: Mapping[str, Kind] = {"slower": "worse", "faster": "better", "inconclusive": "open"}
        kind = kinds.get(metric["verdict"])
        words = exit_status.metric_words(name, metric)
        if kind == "open":
            words += f": {exit_status.verdict_words(name, metric, result.get('contaminated', ''))}"
        if kind:
            yield Finding(kind, cell, name, words, _size(metric), numbers=_numbers(metric))


def _size(metric: Mapping[str, Any]) -> float:
    found = metric["confirmation"] or metric["screen"]
    return max(float(found["low"]) - 1, 1 / float(found["high"]) - 1)


def _numbers(metric: Mapping[str, Any]) -> dict[str, float]:
    found = metric["confirmation"] or metric["screen"]
    return {key: float(found[key]) for key in ("ratio", "low", "high")}


def junit(comparison: Mapping[str, Any]) -> str:
    """JUnit XML: a suite per comparison, a case per cell; worse is a failure, undecided is skipped,
    not measured an error.
    """
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    suite = TestSuite(f"evenbench {comparison['base']} against {comparison['head']}")
    for name in ("base", "head", "seed", "exit"):
        suite.add_property(name, str(comparison[name]))
    for result in comparison["cells"]:
        shown = f"{result['cell']} (control)" if result["control"] else result["cell"]
        case = TestCase(
            shown, "evenbench.compare", sum(pair["seconds"] for pair in result["pairs"])
        )
        told: list[Any] = []
        for finding in _of(result):
            text = (
                f"{finding.metric}: {finding.words}"
                if finding.metric and finding.metric not in finding.words
                else finding.words
            )
            if finding.kind == "failed":
                told.append(Error(text, "failed"))
            elif finding.kind in ("worse", "wrong"):
                told.append(Failure(text, finding.kind))
            elif finding.kind in ("open", "control"):
                told.append(Skipped(text, finding.kind))
        # A case that failed is not also skipped: readers count it twice.
        hard = [each for each in told if not isinstance(each, Skipped)]
        case.result = hard or told[:1]
        suite.add_testcase(case)
    report = JUnitXml("evenbench")
    report.add_testsuite(suite)
    made = report.tostring()  # type: ignore[no-untyped-call]
    return made.decode() if isinstance(made, bytes) else str(made)


def sarif(comparison: Mapping[str, Any], file: str = "benchmarks") -> dict[str, Any]:
    """SARIF 2.1.0: one result per finding, at the declaration of its cell, or in `file` where that
    is not known.

    A fingerprint does not change from commit to commit, so that an alert is tracked and closed; a
    run's category is the machine, because another machine's numbers are no news of this one's.
    """
    kinds = list(RULES)
    results = [
        {
            "ruleId": f"evenbench/{finding.kind}",
            "ruleIndex": kinds.index(finding.kind),
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
            "partialFingerprints": {"evenbenchCell/v1": finding.fingerprint},
            "properties": {"cell": finding.cell, "metric": finding.metric, **finding.numbers},
        }
        for finding in findings(comparison)
    ]
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
    driver = {
        "name": "evenbench",
        "version": __version__,
        "informationUri": "https://pypi.org/project/evenbench/",
        "rules": rules,
    }
    machine = re.sub(
        r"[^a-z0-9]+", "-", str(comparison.get("machine", "unknown machine")).lower()
    ).strip("-")
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"evenbench/compare/{machine}/"},
        "results": results,
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }


def workflow_commands(comparison: Mapping[str, Any]) -> list[str]:
    """GitHub's workflow commands, within its limit of ten of a kind per step."""
    commands = {"error": "error", "warning": "warning", "note": "notice"}
    by_level: dict[str, list[Finding]] = {}
    for finding in findings(comparison):
        by_level.setdefault(LEVELS[finding.kind], []).append(finding)
    lines = []
    for level, found in by_level.items():
        command = commands[level]
        lines += [
            f"::{command} {_where(each)}title={_property(f'evenbench: {each.cell}')}::{_data(each.words)}"
            for each in found[:SHOWN]
        ]
        if len(found) > SHOWN:
            lines.append(
                f"::{command} title=evenbench::and {len(found) - SHOWN} more, see the summary"
            )
    return lines


def _where(finding: Finding) -> str:
    line = f"line={finding.line}," if finding.line else ""
    return f"file={_property(finding.file)},{line}" if finding.file else ""


def write_outputs(comparison: Mapping[str, Any]) -> None:
    """The outputs of a GitHub step, where this runs in one: `exit`, and `worst-ratio`, the largest
    latency of a cell over its base's.
    """
    file = os.environ.get("GITHUB_OUTPUT")
    if not file:
        return
    cells = [
        result
        for result in comparison["cells"]
        if not result["control"] and LATENCY in result["metrics"]
    ]
    ratios = [_numbers(result["metrics"][LATENCY])["ratio"] for result in cells]
    with Path(file).open("a", encoding="utf-8") as stream:
        stream.write(f"exit={comparison['exit']}\nworst-ratio={max(ratios, default=1.0):.4f}\n")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(comparison: Mapping[str, Any]) -> str:
    """Markdown: what the exit code says, a table sorted by the size of the effect, and how to read
    it.
    """
    rows = [row for result in comparison["cells"] for row in _rows(result)]
    rows.sort(key=lambda row: -row[0])
    head = [
        MARKER,
        f"### evenbench: {comparison['base']} against {comparison['head']}",
        "",
        HEADLINES.get(comparison["exit"], "See the table."),
        "",
        *(f"> {_cell(note)}" for note in comparison["notes"]),
        "",
        "| cell | metric | head over base, 99 % | verdict |",
        "|---|---|---|---|",
    ]
    how = "Measured in pairs of processes; what is called worse or better was confirmed by pairs of its own."
    seen = [f"> {_cell(words)}" for words in exit_status.health_words(comparison["cells"])]
    overall = exit_status.overall_words(comparison["cells"])
    foot = [
        "",
        *([overall.capitalize() + ".", ""] if overall else []),
        *seen,
        "",
        f"Seed {comparison['seed']}. {how}",
    ]
    more = "| … | | | more in the results file |"
    room = SUMMARY_BYTES - len("\n".join([*head, more, *foot]).encode())
    lines: list[str] = []
    for _, words in rows:
        room -= len(words.encode()) + 1
        lines.append(words if room >= 0 else more)
        if room < 0:
            break
    return "\n".join([*head, *lines, *foot]) + "\n"


HEADLINES: Mapping[int, str] = {
    exit_codes.PASS: "**Nothing is confirmed worse.**",
    exit_codes.WORSE: "**Something is worse.**",
    exit_codes.UNDECIDED: "**Not decided**: the pairs that were measured do not tell.",
    exit_codes.UNHEALTHY: "**The machine was too restless**: base differed from itself, or could not be measured against itself, or a cell "
    "waited for a core: nothing below counts.",
}


def _rows(result: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    name = f"`{_cell(result['cell'])}`" + (" (control)" if result["control"] else "")
    for why in [result["failure"], *result["wrong"]]:
        if why:
            yield float("inf"), f"| {name} | | | ❌ {_cell(why)} |"
    for metric, found in result["metrics"].items():
        words = exit_status.verdict_words(metric, found, result.get("contaminated", ""))
        mark = {"slower": "❌ ", "worse": "❌ ", "faster": "✅ ", "better": "✅ "}.get(words, "")
        change = exit_status.change_words(found["confirmation"] or found["screen"])
        yield _size(found), f"| {name} | {metric} | {change} | {mark}{_cell(words)} |"


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def write(comparison: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
    """Write the formats that are asked for, `{"junit": path, ...}`, and return the paths. The
    folder is made.
    """
    import json

    made = {
        "junit": junit,
        "sarif": lambda value: json.dumps(sarif(value), indent=1),
        "summary": summary,
    }
    written: list[str] = []
    for kind, path in files.items():
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(made[kind](comparison), encoding="utf-8")
        written.append(str(file))
    return written
