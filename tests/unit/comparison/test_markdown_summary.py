"""The Markdown summary: order, escapes, size and headlines."""

from __future__ import annotations

import re

import pytest

from evenbench.harness.comparison import exit_status, markdown_summary
from evenbench.harness.core import exit_codes
from tests.unit.comparison.comparisons import EVERYTHING, comparison, metric, result


def test_the_summary_names_the_largest_first_and_escapes() -> None:
    text = markdown_summary.text(EVERYTHING)
    assert text.startswith(markdown_summary.MARKER)
    assert "Something is worse" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    order = [line.split("`")[1] for line in rows]
    assert order.index("slowest") < order.index("slow")
    assert any("❌ slower" in line and "+22.1 %" in line for line in rows)
    hostile = markdown_summary.text(comparison(result("<script>|", wrong="a | b <img>")))
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
    assert f"{words.capitalize()}." in markdown_summary.text(comparison(*some, control))
    lone = exit_status.overall_words([*some, result("lone", latency=metric("slower", 0.5))])
    assert re.search(r"\+5\.\d % \[-0\.\d, \+\d\d\.\d\]", lone), (
        "one cell of ten: the interval says so"
    )
    assert exit_status.overall_words(some[:4]) == ""


def test_a_summary_of_ten_thousand_cells_stays_below_githubs_limit_of_a_comment() -> None:
    many = comparison(
        *[result(f"cell{index}" * 10, latency=metric("slower", 0.1)) for index in range(10_000)]
    )
    made = markdown_summary.text(many)
    assert 55_000 < len(made.encode()) < 65_536
    assert made.count("more in the results file") == 1


@pytest.mark.parametrize(
    "code", [exit_codes.PASS, exit_codes.WORSE, exit_codes.UNDECIDED, exit_codes.UNHEALTHY]
)
def test_every_exit_code_has_its_headline(code: int) -> None:
    assert markdown_summary.HEADLINES[code] in markdown_summary.text(comparison(code=code))


def test_controls_stand_last_and_the_column_names_both_sides() -> None:
    some = result("plain", latency=metric("equivalent", 0.001))
    some["sides"] = ["ort", "openvino"]
    control = result("plain", control=True, latency=metric("slower", 0.5))
    text = markdown_summary.text(comparison(control, some))
    assert "| openvino over ort, 99 % |" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert ["(control)" in row for row in rows] == [False, True]
    some["sides"] = ["a/path/that/is/long/before", "openvino"]
    assert exit_status.over_words([control, some]) == "head over base"
