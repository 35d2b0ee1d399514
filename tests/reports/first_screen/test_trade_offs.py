"""One row per model over all precisions, the Pareto front and its chart."""

from __future__ import annotations

import pytest

from evenbench.reports import result_groups
from evenbench.reports.pages import index
from evenbench.reports.sections import trade_offs
from tests.reports import synthetic


def at(backend: str, precision: str, ms: float, mb: int, accuracy: float, **changed):
    line = synthetic.record("net", backend, precision, process_ns=(ms * 1e6,) * 3, **changed)
    line["memory"] = {"peak_rss_bytes": [mb * 10**6] * 3}
    line["accuracy"] = {"metric": "top-1", "value": accuracy, "count": 1000}
    return line


CELLS = [
    at("torch-eager", "fp32", 20, 300, 0.98),
    at("ort", "fp32", 10, 200, 0.98),
    at("ort", "int8-static", 4, 150, 0.96),
    at("openvino", "fp32", 12, 400, 0.98),
    at("openvino", "int8-static", 1, 90, 0.5, outcome="mismatch", reason="is off"),
]


def test_a_row_names_the_fastest_correct_cell_at_any_precision():
    (row,) = trade_offs.rows(result_groups.results(CELLS))
    assert row.ship == "ort int8-static"
    assert float(row.speedup.removesuffix("×")) == pytest.approx(5, abs=0.05)
    assert row.accuracy.replace("\xa0", " ") == "96.0 %, 2.04 % lost"
    assert row.memory.replace("\xa0", " ") == "150 MB"
    names = [cell.partition(":")[0] for cell in row.front]
    assert names == ["ort int8-static", "ort fp32"], "the rest is slower, larger or wrong"


def test_cells_on_the_front_are_numbered_in_the_chart_and_series_have_shapes():
    (row,) = trade_offs.rows(result_groups.results(CELLS))
    assert [glyph for _, glyph, _ in row.chart.keys] == ["●", "■"]
    desktop = str(row.chart.svg).partition("</svg>")[0]
    assert {f">{number}</text>" in desktop for number in (1, 2)} == {True}
    assert ">3</text>" not in desktop.replace("300", "")


def test_one_precision_alone_needs_no_row():
    only = [line for line in CELLS if line["cell"]["precision"] == "fp32"]
    assert trade_offs.rows(result_groups.results(only)) == []
    assert 'id="trade-offs"' not in index.render(only)
    assert 'id="trade-offs"' in index.render(CELLS)
