"""What CI is told of a comparison: valid by each format's own rules, within GitHub's limits, and
nothing unescaped.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from junitparser import Error, Failure, JUnitXml, Skipped

from harness.comparison import ci_reports, exit_status
from harness.core import exit_codes

SCHEMA = json.loads((Path(__file__).parents[2] / "data" / "sarif-2.1.0.json").read_text())


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


def test_findings_come_by_kind_and_then_by_size() -> None:
    found = [(finding.kind, finding.cell) for finding in ci_reports.findings(EVERYTHING)]
    assert found == [
        ("worse", "slowest"),
        ("worse", "slow"),
        ("wrong", "off"),
        ("failed", "gone"),
        ("control", "slow"),
        ("open", "open"),
        ("better", "fast"),
    ]


def test_junit_is_read_back_with_the_right_results() -> None:
    (suite,) = JUnitXml.fromstring(ci_reports.junit(EVERYTHING).encode())
    cases = {case.name: [type(each) for each in case.result] for case in suite}
    assert cases == {
        "fine": [],
        "slow": [Failure],
        "slowest": [Failure],
        "fast": [],
        "open": [Skipped],
        "gone": [Error],
        "off": [Failure],
        "slow (control)": [Skipped],
    }
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (8, 3, 1, 2)
    assert {each.name: each.value for each in suite.properties()}["head"] == "<b>|x"


def test_sarif_is_valid_by_its_schema() -> None:
    made = ci_reports.sarif(EVERYTHING, "benchmarks/bench_work.py")
    Draft4Validator(SCHEMA).validate(made)
    levels = [found["level"] for found in made["runs"][0]["results"]]
    assert levels == ["error"] * 4 + ["warning"] * 2 + ["note"]
    Draft4Validator(SCHEMA).validate(ci_reports.sarif(comparison()))


def test_the_schema_would_find_a_fault() -> None:
    broken = ci_reports.sarif(EVERYTHING)
    broken["runs"][0]["results"][0]["level"] = "fatal"
    assert not Draft4Validator(SCHEMA).is_valid(broken)


def test_a_finding_keeps_its_fingerprint_from_commit_to_commit() -> None:
    before = ci_reports.sarif(comparison(result("slow", latency=metric("slower", 0.06))))["runs"][
        0
    ]["results"][0]
    after = ci_reports.sarif(comparison(result("slow", latency=metric("slower", 0.09))))["runs"][0][
        "results"
    ][0]
    other = ci_reports.sarif(comparison(result("slower", latency=metric("slower", 0.06))))["runs"][
        0
    ]["results"][0]
    assert (
        before["partialFingerprints"]
        == after["partialFingerprints"]
        != other["partialFingerprints"]
    )
    assert before["message"] != after["message"]


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (9, 9), (10, 10), (300, 10)])
def test_annotations_stay_within_githubs_ten_of_a_kind(count: int, lines: int) -> None:
    many = comparison(
        *[result(f"cell{index}", latency=metric("slower", 0.1)) for index in range(count)]
    )
    told = ci_reports.workflow_commands(many)
    assert len(told) == lines
    assert all(line.startswith("::error title=evenbench") for line in told)
    if count > 10:
        assert told[-1].endswith("and 291 more, see the summary")


def test_annotations_are_escaped() -> None:
    (line,) = ci_reports.workflow_commands(comparison(result("a,b:c", wrong="100%\n::error::x")))
    assert line == "::error title=evenbench%3A a%2Cb%3Ac::base: 100%25%0A::error::x"


def test_the_summary_names_the_largest_first_and_escapes() -> None:
    text = ci_reports.summary(EVERYTHING)
    assert text.startswith(ci_reports.MARKER)
    assert "Something is worse" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    order = [line.split("`")[1] for line in rows]
    assert order.index("slowest") < order.index("slow")
    assert any("❌ slower" in line and "+22.1 %" in line for line in rows)
    hostile = ci_reports.summary(comparison(result("<script>|", wrong="a | b <img>")))
    assert "<script>" not in hostile
    assert "a \\| b &lt;img>" in hostile


def test_the_summary_has_the_mean_over_cells_and_how_far_it_rests_on_a_few() -> None:
    some = [
        result(f"c{number}", latency=metric("equivalent", 0.001 * number))
        for number in range(-4, 5)
    ]
    control = result("c0", control=True, latency=metric("slower", 0.5))
    words = exit_status.overall_words([*some, control])
    assert words.startswith("latency of all 9 cells +0.0 % [-0.")
    assert f"{words.capitalize()}." in ci_reports.summary(comparison(*some, control))
    lone = exit_status.overall_words([*some, result("lone", latency=metric("slower", 0.5))])
    assert re.search(r"\+5\.\d % \[-0\.\d, \+\d\d\.\d\]", lone), (
        "one cell of ten: the interval says so"
    )
    assert exit_status.overall_words(some[:4]) == ""


def test_a_summary_of_ten_thousand_cells_stays_below_githubs_limit_of_a_comment() -> None:
    many = comparison(
        *[result(f"cell{index}" * 10, latency=metric("slower", 0.1)) for index in range(10_000)]
    )
    made = ci_reports.summary(many)
    assert 55_000 < len(made.encode()) < 65_536
    assert made.count("more in the results file") == 1


@pytest.mark.parametrize(
    "code", [exit_codes.PASS, exit_codes.WORSE, exit_codes.UNDECIDED, exit_codes.UNHEALTHY]
)
def test_every_exit_code_has_its_headline(code: int) -> None:
    assert ci_reports.HEADLINES[code] in ci_reports.summary(comparison(code=code))


def test_files_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    files = {
        "junit": str(tmp_path / "a" / "junit.xml"),
        "sarif": str(tmp_path / "b.sarif"),
        "summary": str(tmp_path / "c.md"),
    }
    assert ci_reports.write(EVERYTHING, files) == list(files.values())
    assert JUnitXml.fromfile(files["junit"]) is not None
    assert json.loads(Path(files["sarif"]).read_text())["version"] == "2.1.0"


PLACED = {
    **result("slow", latency=metric("slower", 0.06)),
    "place": {"file": "benchmarks/a, b.py", "line": 7},
}


def test_what_is_told_points_at_the_declaration() -> None:
    (line,) = ci_reports.workflow_commands(comparison(PLACED))
    assert line.startswith(
        "::error file=benchmarks/a%2C b.py,line=7,title=evenbench%3A slow::latency +"
    )
    made = ci_reports.sarif(comparison(PLACED))
    Draft4Validator(SCHEMA).validate(made)
    (found,) = made["runs"][0]["results"]
    assert found["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "benchmarks/a%2C%20b.py"},
        "region": {"startLine": 7},
    }
    assert found["properties"]["ratio"] == pytest.approx(math.exp(0.06))
    unknown = {**PLACED, "place": {"file": "model.onnx", "line": None}}
    assert ci_reports.workflow_commands(comparison(unknown))[0].startswith(
        "::error file=model.onnx,title="
    )


def test_sarif_says_what_is_new_and_names_each_rule_and_the_machine() -> None:
    both = {**result("off", wrong="is off"), "wrong": ["is off", "is off"]}
    mended = {**result("mended"), "wrong": ["was off", ""]}
    broken = {**result("broken"), "wrong": ["", "is off"]}
    (run,) = ci_reports.sarif(
        {**comparison(both, mended, broken), "machine": "Fast (R) CPU, 4 cores"}
    )["runs"]
    states = {
        (found["properties"]["cell"], found["message"]["text"].split()[1]): found["baselineState"]
        for found in run["results"]
    }
    assert states == {
        ("off", "base:"): "unchanged",
        ("off", "head:"): "unchanged",
        ("mended", "base:"): "absent",
        ("broken", "head:"): "new",
    }
    assert run["automationDetails"]["id"] == "evenbench/compare/fast-r-cpu-4-cores/"
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[found["ruleIndex"]]["id"] == found["ruleId"] for found in run["results"])
    assert all(
        rule["defaultConfiguration"]["level"] == ci_reports.LEVELS[rule["id"].partition("/")[2]]
        for rule in rules
    )


def test_a_step_of_github_gets_its_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "outputs"
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    ci_reports.write_outputs(EVERYTHING)
    assert not file.exists()
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    ci_reports.write_outputs(EVERYTHING)
    assert file.read_text() == "exit=1\nworst-ratio=1.2214\n"
