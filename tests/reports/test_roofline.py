"""Distance from the limit: what binds, what is above it and why, and the chart."""

import pytest
import synthetic

from evenbench.reports import result_groups
from evenbench.reports.charts import roofline as chart
from evenbench.reports.pages import index
from evenbench.reports.sections import details, roofline

PEAKS = {
    "peak_flops_per_second": 1e11,
    "peak_by": "fp32 product of 1024",
    "bandwidth_bytes_per_second": 1e10,
    "bandwidth_by": "triad",
}


def limited(backend="ort", least_seconds=3.6e-3, bound="arithmetic", model="resnet18", **changed):
    """A record of 9 ms; by default with 40 % of the limit."""
    work = {
        "flops": 360_000_000,
        "flops_by_operator": {"aten.convolution": 360_000_000},
        "flops_uncounted": {},
        "least_bytes": 2_000_000,
    }
    by = {
        "library": "torch",
        "version": "2.15.0",
        "measured": "2026-11-21T01:36:10Z",
        "cache_bytes": 32 * 2**20,
    }
    told = {**work, **PEAKS, **by, "least_seconds": least_seconds, "bound": bound, "reason": ""}
    return synthetic.record(
        model, backend, process_ns=(9.0e6, 9.0e6, 9.0e6), laps=1, limit=told | changed
    )


def rows(*lines):
    return roofline.table(result_groups.groups(result_groups.results(lines))).rows


def column(row, title):
    titles = [each.title for each in roofline.table([]).columns]
    return row[titles.index(title)]


def test_a_row_says_what_share_of_the_limit_was_reached_and_what_binds():
    (row,) = rows(limited())
    (result,) = result_groups.results([limited()])
    assert result.of_limit == pytest.approx(3.6e6 / result.compute.value)
    assert column(row, "Of the limit")[0].endswith("\N{NO-BREAK SPACE}%")
    assert column(row, "Of the limit")[1] == pytest.approx(result.of_limit)
    assert column(row, "Bound by") == "arithmetic"
    assert column(row, "Work")[0] == "360\N{NO-BREAK SPACE}MFLOP"
    assert column(row, "Reached")[1] == pytest.approx(360e6 / result.compute.value * 1e9)
    assert column(row, "Remark") == ""


def test_what_has_no_limit_has_no_row_and_says_why_in_its_details():
    line = limited(
        least_seconds=None, bound="", reason="plan quick measures no peaks; use --plan default"
    )
    assert rows(line, synthetic.record(), limited() | {"outcome": "mismatch"}) == []
    group = result_groups.groups(result_groups.results([line]))[0]
    told = dict(dict(details.describe(group, group.results[0])["sections"])["Limit"])
    assert told["no limit"] == "plan quick measures no peaks; use --plan default"
    assert "least possible" not in told


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "Winograd"),
        ({"flops_by_operator": {"Conv": 1}}, "Winograd"),
        ({"flops_by_operator": {"aten.mm": 1}}, "beat the fp32 product of 1024"),
        ({"bound": "memory"}, "stay in the caches"),
        ({"bound": "memory", "cache_bytes": 1000}, "a part of the weights"),
        ({"bound": "memory", "cache_bytes": None}, "a part of the weights"),
    ],
)
def test_a_share_above_one_is_shown_and_explained(changed, words):
    (row,) = rows(limited(least_seconds=12e-3, **changed))
    assert column(row, "Of the limit")[1] > 1.2
    assert column(row, "Remark").startswith("above the limit: ")
    assert words in column(row, "Remark")
    assert "lowered the measured peaks (2026-11-21T01:36:10Z)" in column(row, "Remark")


def test_operators_that_could_not_be_counted_are_named():
    (row,) = rows(limited(flops_uncounted={"LSTM": 2}))
    assert column(row, "Remark") == "without the work of 2 LSTM"


@pytest.mark.parametrize(
    ("fraction", "words"), [(0.4, "40 %"), (0.0084, "0.84 %"), (1.0, "100 %"), (1.337, "134 %")]
)
def test_shares_are_percentages(fraction, words):
    assert roofline.share(fraction).replace("\N{NO-BREAK SPACE}", " ") == words


def drawn(*lines):
    return roofline.drawn(result_groups.groups(result_groups.results(lines)))


def test_the_roof_has_its_ridge_where_arithmetic_and_memory_meet():
    roof = chart.Roof("bound", 1e11, 1e10)
    assert roof.at(10.0) == roof.at(20.0) == 1e11
    assert roof.at(1.0) == 1e10
    made = drawn(limited(), limited("openvino"), limited(model="resnet50"))
    assert [name for _, _, name in made.keys] == ["openvino", "ort"]
    desktop = made.svg.partition("</svg>")[0]
    assert desktop.count("<use ") == 3
    assert "resnet18, resnet50" in desktop, "models of one intensity share a place"
    assert "bound of fp32, cpu, 2\N{NO-BREAK SPACE}threads" in desktop
    assert made.note == ""


def test_a_roof_that_a_cell_exceeds_is_not_drawn_and_said_so():
    made = drawn(limited(peak_flops_per_second=2e10), limited("openvino"))
    assert "bound of fp32" in made.svg, "the roof that holds"
    made = drawn(limited(peak_flops_per_second=2e10))
    assert "bound of fp32" not in made.svg
    assert made.note.startswith("Not drawn: bound of fp32, cpu, 2")
    assert "1\N{NO-BREAK SPACE}cell of this run exceeds it, by up to 86" in made.note


def test_each_setting_has_a_roof_and_not_more_than_can_be_told_apart():
    lines = []
    for threads in range(1, 10):
        line = limited()
        line["cell"] = line["cell"] | {
            "threads": threads,
            "key": f"{threads:016x}",
            "group": f"g{threads}",
        }
        lines.append(line)
    made = drawn(*lines)
    assert made.svg.partition("</svg>")[0].count("bound of fp32, cpu, ") == roofline.ROOFS_DRAWN
    assert "bound of fp32, cpu, 1\N{NO-BREAK SPACE}thread<" in made.svg
    assert made.note == "3\N{NO-BREAK SPACE}more cells: see the table."


def test_without_work_or_limits_there_is_no_chart():
    assert drawn(synthetic.record()) is None
    assert drawn(limited(flops=0)) is None


def test_the_page_has_the_section_where_there_are_limits():
    page, plain = index.render([limited()]), index.render([synthetic.record()])
    assert 'href="#limit"' in page
    assert 'id="limit-chart"' in page
    assert 'data-set="bound"' in page
    assert 'href="#limit"' not in plain
    assert 'data-set="bound"' not in plain
