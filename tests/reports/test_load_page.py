"""The page of a scenario of load: curves where there are any, words where there are no numbers, and
nothing that a browser would run.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from evenbench.harness.load.points import merge_points
from evenbench.harness.load.scenarios import CONCURRENT, GAPS, SWEEP, Scenario
from evenbench.reports import formatting, load_results
from evenbench.reports.pages import load

MS = 1_000_000
CELL = {"id": "net-fast-fp32-cpu-b4", "batch": 4, "backend": "fast"}


def lap(ms: float, calls: int = 500, **more: Any) -> dict[str, Any]:
    return {"calls": calls, "laps_ns": [round(ms * MS)] * calls, "wall_ns": ms * MS * calls, **more}


def line(scenario: Scenario, *parts: dict[str, Any], name: str = "fast") -> dict[str, Any]:
    """A line of one right cell, or of the parts that are given."""
    cell = {**CELL, "id": f"net-{name}-fp32-cpu-b4", "backend": name}
    usual = {
        "cell": cell,
        "outcome": "ok",
        "phase": "",
        "reason": "",
        "points": [],
        "parity": {"needed": 0.03},
    }
    environment = {
        "cpu": "a processor",
        "cores": 2,
        "os": "an OS",
        "python": "3.12",
        "packages": {"numpy": "2"},
    }
    return {
        "scenario": {
            "name": scenario.name,
            "seed": 0,
            **({"batches": [1, 4]} if scenario.name == SWEEP else {}),
        },
        "cell": cell,
        "parts": [{**usual, **part} for part in parts],
        "answer": None,
        "environment": environment,
        "run": {"processes": 1, "plan": "quick", "started": "now"},
        "reproduce": "evenbench load x",
    }


def called(*each: dict[str, Any]) -> list[dict[str, Any]]:
    return merge_points(Scenario(CONCURRENT), 4, [list(each)])


FASTER = {"points": called(lap(2, callers=1), lap(3, callers=2))}


def test_curves_have_their_points_in_place() -> None:
    found = load.chart([line(Scenario(CONCURRENT), FASTER)])
    assert found is not None
    assert (found.percentile, found.labels) == ("p99", "numbers of callers")
    (curve,) = found.figure["data"]
    assert curve["text"] == ["1", "2"]
    assert curve["x"] == [pytest.approx(2000), pytest.approx(4000 / 3, abs=1)], (
        "samples, four a call"
    )
    assert curve["y"] == [pytest.approx(2 * MS), pytest.approx(3 * MS)]
    assert curve["hovertext"][0] == (
        "net-fast-fp32-cpu-b4, 1\N{NO-BREAK SPACE}caller: 2,000 per second, p99 "
        "2.00\N{NO-BREAK SPACE}ms"
    )
    axis = found.figure["layout"]["yaxis"]
    assert (axis["type"], axis["title"]["text"]) == ("log", "p99, log scale")
    assert "2.00\N{NO-BREAK SPACE}ms" in axis["ticktext"]


def test_plotly_accepts_the_figure() -> None:
    import plotly.graph_objects as go

    found = load.chart([line(Scenario(CONCURRENT), FASTER)])
    assert found is not None
    go.Figure(found.figure)


def test_requests_in_flight_have_a_row_and_no_place_among_the_curves() -> None:
    queued = {
        "points": called(
            {"callers": 1, "requests": 2, "calls": 900, "laps_ns": [], "wall_ns": 900 * MS}
        )
    }
    lines = [line(Scenario(CONCURRENT), FASTER), line(Scenario(CONCURRENT), queued, name="queued")]
    found = load.chart(lines)
    assert found is not None
    assert [curve["name"] for curve in found.figure["data"]] == ["net-fast-fp32-cpu-b4"]
    (row,) = load_results.rows(lines[1])
    assert row[:5] == (
        "net-queued-fp32-cpu-b4",
        "1, 2 requests",
        formatting.DASH,
        formatting.DASH,
        formatting.DASH,
    )
    assert (
        "no single latency is seen of 2 requests in flight: net-queued-fp32-cpu-b4"
        in load_results.notes(lines)
    )


def test_curves_are_of_a_percentile_that_all_points_have() -> None:
    few = {"points": called(lap(2, callers=1), lap(3, calls=50, callers=2))}
    found = load.chart([line(Scenario(CONCURRENT), few)])
    assert found is not None
    assert found.percentile == "p90"


@pytest.mark.parametrize("scenario", [Scenario(GAPS), Scenario(CONCURRENT)])
def test_there_is_no_chart_without_a_curve(scenario: Scenario) -> None:
    assert (
        load.chart([line(scenario, {"outcome": "mismatch", "phase": "parity", "reason": "wrong"})])
        is None
    )


def test_a_wrong_cell_has_its_reason_and_no_row() -> None:
    wrong = line(
        Scenario(CONCURRENT),
        {"outcome": "mismatch", "phase": "parity", "reason": "is <b>wrong</b>"},
        name="liar",
    )
    page = load.render([line(Scenario(CONCURRENT), FASTER), wrong])
    assert "net-liar-fp32-cpu-b4: mismatch in parity: is &lt;b&gt;wrong&lt;/b&gt;" in page
    assert page.count('<th scope="row">') == 2, "two points of the right one"
    assert "net-fast-fp32-cpu-b4 needs 0.0300 of the tolerance" in page


def test_the_page_asks_the_network_for_nothing() -> None:
    page = load.render([line(Scenario(CONCURRENT), FASTER)])
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    assert "default-src 'none'" in page
    assert not re.search(
        r"\bnan\b|None|undefined",
        re.sub(r"<(style|script)>.*?</\1>|default-src 'none'", "", page, flags=re.S),
    )


def test_no_lines_are_an_error() -> None:
    with pytest.raises(ValueError, match="expected one per cell"):
        load.render([])


def test_rows_of_a_sweep_name_the_cell_without_a_batch() -> None:
    swept = line(Scenario(SWEEP), {"points": merge_points(Scenario(SWEEP), 1, [[lap(1, batch=1)]])})
    ((name, batch, *_),) = load_results.rows(swept)
    assert (name, batch) == ("net-fast-fp32-cpu", "1")
