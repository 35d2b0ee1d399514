"""SARIF, validated with the published schema."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from jsonschema import Draft4Validator

from evenbench.harness.comparison import findings, sarif
from tests.unit.comparison.comparisons import EVERYTHING, PLACED, comparison, metric, result

SCHEMA = json.loads((Path(__file__).parents[2] / "data" / "sarif-2.1.0.json").read_text())


def test_sarif_is_valid_by_its_schema() -> None:
    made = sarif.log(EVERYTHING, "benchmarks/bench_work.py")
    Draft4Validator(SCHEMA).validate(made)
    levels = [found["level"] for found in made["runs"][0]["results"]]
    assert levels == ["error"] * 4 + ["warning"] * 2 + ["note"]
    Draft4Validator(SCHEMA).validate(sarif.log(comparison()))


def test_the_schema_would_find_a_fault() -> None:
    broken = sarif.log(EVERYTHING)
    broken["runs"][0]["results"][0]["level"] = "fatal"
    assert not Draft4Validator(SCHEMA).is_valid(broken)


def test_a_finding_keeps_its_fingerprint_from_commit_to_commit() -> None:
    before = sarif.log(comparison(result("slow", latency=metric("slower", 0.06))))["runs"][0][
        "results"
    ][0]
    after = sarif.log(comparison(result("slow", latency=metric("slower", 0.09))))["runs"][0][
        "results"
    ][0]
    other = sarif.log(comparison(result("slower", latency=metric("slower", 0.06))))["runs"][0][
        "results"
    ][0]
    assert (
        before["partialFingerprints"]
        == after["partialFingerprints"]
        != other["partialFingerprints"]
    )
    assert before["message"] != after["message"]


def test_results_point_at_the_declaration() -> None:
    made = sarif.log(comparison(PLACED))
    Draft4Validator(SCHEMA).validate(made)
    (found,) = made["runs"][0]["results"]
    assert found["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "benchmarks/a%2C%20b.py"},
        "region": {"startLine": 7},
    }
    assert found["properties"]["ratio"] == pytest.approx(math.exp(0.06))


def test_sarif_says_what_is_new_and_names_each_rule_and_the_machine() -> None:
    both = {**result("off", wrong="is off"), "wrong": ["is off", "is off"]}
    mended = {**result("mended"), "wrong": ["was off", ""]}
    broken = {**result("broken"), "wrong": ["", "is off"]}
    (run,) = sarif.log({**comparison(both, mended, broken), "machine": "Fast (R) CPU, 4 cores"})[
        "runs"
    ]
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
        rule["defaultConfiguration"]["level"] == findings.LEVELS[rule["id"].partition("/")[2]]
        for rule in rules
    )
