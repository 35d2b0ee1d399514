"""Ratios across precisions: over eager fp32, within one run and one setting, and only of what is
right.
"""

import pytest
import synthetic

from evenbench.reports import result_groups, verdict
from evenbench.reports.pages import index
from evenbench.reports.sections import precisions


def members(*lines):
    return result_groups.results(lines)


def at(precision, backend="ort", process_ns=(10e6, 10.1e6, 9.9e6), **changed):
    return synthetic.record(
        backend=backend, precision=precision, process_ns=process_ns, laps=9, **changed
    )


def ratio(square):
    return float(square.large.removesuffix("×"))


EAGER = at("fp32", "torch-eager", (20e6, 20.1e6, 19.9e6))


def test_one_precision_alone_is_no_family():
    assert precisions.families(members(EAGER, at("fp32"))) == []


def test_every_precision_is_over_eager_fp32():
    faster = at("int8-static", process_ns=(5e6, 5.1e6, 4.9e6))
    (family,) = precisions.families(members(EAGER, at("fp32"), faster, at("bf16", "torch-eager")))
    assert family.precisions == ("fp32", "bf16", "int8-static")
    rows = dict(family.rows)
    assert rows["torch-eager"][0].large == "1×"
    assert ratio(rows["torch-eager"][1]) == pytest.approx(2, abs=0.05)
    assert rows["torch-eager"][2] is None
    assert [ratio(rows["ort"][0]), ratio(rows["ort"][2])] == pytest.approx([2, 4], abs=0.05)
    assert rows["ort"][1] is None
    assert rows["ort"][2].tone == verdict.FASTER


def test_what_is_wrong_has_an_outcome_and_no_ratio():
    wrong = at("bf16", outcome="mismatch", reason="is off")
    (family,) = precisions.families(
        members(EAGER, wrong, at("fp16", outcome="unsupported", reason="no"))
    )
    squares = [square for square in dict(family.rows)["ort"] if square]
    assert [(square.large, square.words) for square in squares] == [
        ("unsupported", "no"),
        ("mismatch", "is off"),
    ]


def test_another_run_is_another_family():
    other = at("int8-static", run={"id": "2", "started": "2026-01-02T00:00:00Z", "seed": 3})
    assert precisions.families(members(EAGER, at("fp32"), other)) == []


def test_without_a_baseline_nothing_is_a_ratio():
    (family,) = precisions.families(members(at("fp32"), at("bf16")))
    assert [square.large for square in dict(family.rows)["ort"]] == ["–", "–"]
    assert family.baseline == "–"


def test_markdown_has_each_reason_once():
    refused = [
        at("fp16", backend, outcome="unsupported", reason="no | kernel")
        for backend in ("ort", "openvino")
    ]
    made = precisions.markdown(members(EAGER, *refused))
    assert made.count("no \\| kernel") == 1
    assert "| `ort` | – | unsupported (1) |" in made
    assert "| `torch-eager` | **1×** parity" in made


def test_the_page_shows_them_escaped():
    page = index.render([EAGER, at("bf16", "<b>bad</b>")])
    assert 'href="#precisions"' in page
    assert "<b>bad</b>" not in page
    assert 'href="#precisions"' not in index.render([EAGER])


def test_a_ratio_of_a_busy_machine_is_not_judged_in_page_and_markdown():
    lines = [at("fp32", "torch-eager", (20e6,)), at("bf16", process_ns=(5e6,))]
    for taken in (taken for line in lines for taken in line["blocks"].values()):
        for block in (block for process in taken for block in process):
            block["machine_cpu_ns"] = block["cpu_ns"] + 2 * block["wall_ns"]
    (family,) = precisions.families(members(*lines))
    square = dict(family.rows)["ort"][1]
    assert (square.large, square.tone) == ("not judged", verdict.UNKNOWN)
    assert "other processes used 2.0 cores" in square.words
    assert "**not judged**" in precisions.markdown(members(*lines))
