"""What a report says of load and of pipelines: one row per cell and question, the newest, in words,
and linked where a page lies beside.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import synthetic

from evenbench.harness import cli
from evenbench.harness.load.capacity import best_batch
from evenbench.harness.load.points import merge_points
from evenbench.harness.load.scenarios import (
    CONCURRENT,
    GAPS,
    SERVER,
    SHAPES,
    SINGLE,
    SWEEP,
    Scenario,
)
from evenbench.harness.results import records
from evenbench.reports.pages import index, load
from evenbench.reports.sections import related_runs
from tests.reports import pipelines

MS = 1_000_000
RUN = {
    "id": "2026-11-21T02-00-00Z-abcd",
    "started": "2026-11-21T02:00:00Z",
    "plan": "default",
    "processes": 2,
}


def lap(ms: float, calls: int = 500, **more: Any) -> dict[str, Any]:
    return {"calls": calls, "laps_ns": [round(ms * MS)] * calls, "wall_ns": ms * MS * calls, **more}


def line(
    scenario: Scenario, *sizes: tuple[int, list[dict[str, Any]]], backend: str = "ort", **more: Any
) -> dict[str, Any]:
    """A line of load of two like processes; for each batch size what each of them found at its
    points.
    """
    parts = [_part(scenario, backend, batch, found) for batch, found in sizes]
    made = {
        "load": 1,
        "run": RUN,
        "time": "2026-11-21T02:01:00Z",
        "cell": parts[-1]["cell"] if parts else _cell(backend, 1),
        "scenario": {
            "name": scenario.name,
            "seed": 0,
            **({"bound_ns": scenario.bound_ns} if scenario.bound_ns else {}),
        },
        "boundary": "host_to_host",
        "outcome": "ok",
        "phase": "",
        "reason": "",
        "parts": parts,
        "answer": None,
        "environment": {
            "cpu": "a CPU",
            "cores": 2,
            "os": "Linux",
            "python": "3.11",
            "packages": {},
        },
        "reproduce": "evenbench load x",
    }
    if scenario.name == SWEEP:
        made["scenario"]["batches"] = list(scenario.batches)
    return made | more


def _cell(backend: str, batch: int) -> dict[str, Any]:
    names = {
        "id": f"net-{backend}-fp32-cpu-b{batch}",
        "key": f"{backend}-{batch}",
        "group": "g",
        "model": "net",
        "backend": backend,
    }
    return {
        **names,
        "precision": "fp32",
        "device": "cpu",
        "batch": batch,
        "threads": 2,
        "options": {},
    }


def _part(
    scenario: Scenario, backend: str, batch: int, found: list[dict[str, Any]]
) -> dict[str, Any]:
    points = merge_points(scenario, batch, [found, found])
    return {
        "cell": _cell(backend, batch),
        "outcome": "ok",
        "phase": "",
        "reason": "",
        "points": points,
        "parity": {"needed": 0.1},
    }


def swept() -> dict[str, Any]:
    asked = Scenario(SWEEP, batches=(1, 4), bound_ns=20 * MS)
    made = line(asked, (1, [lap(2, batch=1)]), (4, [lap(4, batch=4)]))
    points = [point for part in made["parts"] for point in part["points"]]
    return made | {"answer": best_batch(points, asked.bound_ns)}


def only(*loads: dict[str, Any], pages: dict[str, str] | None = None) -> related_runs.RelatedRun:
    (row,) = related_runs.gather(loads, pages or {}, []).rows
    return row


def test_a_sweep_says_its_best_batch_and_what_that_brings() -> None:
    row = only(swept())
    assert (row.cell, row.outcome) == ("net-ort-fp32-cpu", "ok")
    assert row.question == "batch-sweep, p99 within 20.0\N{NO-BREAK SPACE}ms"
    assert (
        row.answer == "best batch with a p99 within 20.0\N{NO-BREAK SPACE}ms: 4; 1,000 per second"
    )


def test_a_server_says_its_highest_valid_rate_or_why_there_is_none() -> None:
    asked = Scenario(SERVER, bound_ns=5 * MS)
    valid = line(asked, answer={"bound_ns": 5 * MS, "rate_per_second": 120.0, "reason": ""})
    assert (
        only(valid).answer == "valid for a p99 of 5.00\N{NO-BREAK SPACE}ms: 120 arrivals per second"
    )
    nothing = line(
        asked,
        answer={"bound_ns": 5 * MS, "rate_per_second": None, "reason": "the bound cannot be kept"},
    )
    assert only(nothing).answer.endswith("the bound cannot be kept")


def test_a_pause_says_what_waking_up_costs() -> None:
    def paused(gap_ms: float, ms: float) -> dict[str, Any]:
        return {"gap_ms": gap_ms, "laps_ns": [round(ms * MS)] * 50, "waited_ns": [0] * 50}

    row = only(line(Scenario(GAPS), (1, [paused(0, 2), paused(10, 3), paused(1000, 6)])))
    assert re.fullmatch(
        r"after a pause of 1000 ms a call takes ×3\.00 .*of a call without", row.answer
    ), row.answer


def test_callers_streams_and_shapes_have_their_sentence() -> None:
    assert only(line(Scenario(SINGLE), (1, [lap(2)]))).answer.endswith(
        "p99 2.00\N{NO-BREAK SPACE}ms, 500 per second"
    )
    few = only(line(Scenario(SINGLE), (1, [lap(2, calls=20)])))
    assert few.answer == "p50 2.00\N{NO-BREAK SPACE}ms, 500 per second", (
        "what the laps do not support is not stated"
    )
    callers = only(
        line(Scenario(CONCURRENT), (1, [lap(2, callers=1), lap(1, callers=2), lap(1.5, callers=4)]))
    )
    assert callers.answer.startswith("at most 1,000 per second, callers: 2, ×2.00")
    new = [
        lap(2, batch=1, first_ns=None),
        lap(2, batch=2, first_ns=8 * MS),
        lap(2, batch=4, first_ns=20 * MS),
    ]
    assert only(line(Scenario(SHAPES), (4, new))).answer.startswith(
        "the first call of batch 4 takes ×10.0"
    )
    old = only(
        line(
            Scenario(SHAPES), (4, [lap(2, batch=1, first_ns=None), lap(2, batch=2, first_ns=None)])
        )
    )
    assert old.answer == "every size was loaded before its first call"


def test_what_is_not_right_says_why_and_has_no_number() -> None:
    row = only(
        line(
            Scenario(SINGLE),
            outcome="mismatch",
            phase="parity",
            reason="y needs 9 times the allowed tolerance",
        )
    )
    assert (row.outcome, row.answer) == (
        "mismatch",
        "in parity: y needs 9 times the allowed tolerance",
    )


def test_of_two_lines_of_one_question_the_newest_is_shown() -> None:
    old, new = (
        line(Scenario(SINGLE), (1, [lap(2)])),
        line(Scenario(SINGLE), (1, [lap(4)]), time="2026-11-22T02:01:00Z"),
    )
    for order in ([old, new], [new, old]):
        assert "250 per second" in only(*order).answer
    tight = swept() | {"scenario": {"name": SWEEP, "seed": 0, "bound_ns": MS, "batches": [1, 4]}}
    assert len(related_runs.gather([swept(), tight], {}, []).rows) == 2, (
        "another bound is another question"
    )


def test_a_pipeline_says_its_rates() -> None:
    found = related_runs.gather(
        [],
        {},
        [(pipelines.QUICK, "./street/index.html"), (pipelines.WRONG, ""), (pipelines.ALONE, "")],
    )
    rows = {row.cell: row for row in found.rows}
    assert rows["m-quick"].question == "pipeline over video.mp4"
    assert re.match(
        r"frames per second: 200 \(.*\) with 4 in flight, 100 \(.*\) one at a time$",
        rows["m-quick"].answer,
    )
    assert rows["m-quick"].page == "./street/index.html"
    assert rows["m-wrong"].answer == "out needs 9 times the allowed tolerance"
    assert rows["m-alone"].answer == "frames per second: 500 of inference and fetching alone"


def test_a_line_that_is_none_any_more_is_left_out_and_counted() -> None:
    broken = line(Scenario(SINGLE), (1, [lap(2)])) | {"parts": "x"}
    found = related_runs.gather([broken, swept()], {}, [({"cell": 7}, "")])
    assert len(found.rows) == 1
    assert found.notes == (
        (
            "2\N{NO-BREAK SPACE}lines of load or of a pipeline left out, malformed; see "
            "docs/how-to/load.md and docs/how-to/pipeline.md"
        ),
    )


# -- on the page -----------------------------------------------------------------------------------


def section(page: str) -> str:
    return page.partition('<section id="companions"')[2].partition("</section>")[0]


def test_the_page_escapes_what_lines_say() -> None:
    hostile = "<script>alert(1)</script>\"'&"
    wrong = line(Scenario(SINGLE), outcome="failed", phase="load", reason=hostile)
    wrong["cell"] = wrong["cell"] | {"id": hostile}
    found = related_runs.gather([wrong], {RUN["id"]: './a"><b>.html'}, [])
    told = section(index.render(synthetic.suite(), beside=found))
    assert "<script>" not in told
    assert "<b>" not in told
    assert told.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert 'href="./a&#34;&gt;&lt;b&gt;.html"' in told


def test_a_page_without_such_lines_says_nothing_of_them() -> None:
    page = index.render(synthetic.suite())
    assert "companions" not in page
    assert 'href="#companions"' in index.render(
        synthetic.suite(), beside=related_runs.gather([swept()], {}, [])
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's results: outcomes, a run under load, and a pipeline beside the site."""
    for each in synthetic.suite():
        records.append(records.folder(tmp_path / "results") / "run.jsonl", each)
    records.append(records.folder(tmp_path / "results" / "load") / f"{RUN['id']}.jsonl", swept())
    records.append(records.folder(tmp_path / "site" / "street") / "pipeline.jsonl", pipelines.QUICK)
    return tmp_path


def report(folder: Path, *more: str) -> str:
    assert cli.main(["report", str(folder / "results"), *more, "-o", str(folder / "site")]) == 0
    return section((folder / "site" / "index.html").read_text())


def test_the_command_finds_what_lies_beside_the_outcomes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = report(folder)
    assert "net-ort-fp32-cpu" in told
    assert "m-quick" in told
    assert "href" not in told, "neither has a page in the site"
    load.write([swept()], folder / "site" / "under load.html")
    (folder / "site" / "street" / "index.html").write_text("a page")
    assert re.findall(r'href="([^"]*)"', report(folder)) == [
        "./street/index.html",
        "./under%20load.html",
    ]
    assert "left out" not in capsys.readouterr().err


def test_a_folder_of_a_pipeline_may_be_named_and_a_torn_line_is_noted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records.append(records.folder(folder / "desk") / "pipeline.jsonl", pipelines.SLOW)
    with (folder / "results" / "load" / f"{RUN['id']}.jsonl").open("a") as stream:
        stream.write(json.dumps(swept())[:50])
    told = report(folder, str(folder / "desk"))
    assert "m-slow" in told
    notes = capsys.readouterr().err
    assert "truncated line left out" in notes
    assert "not an evenbench outcome" not in notes, "a pipeline's lines are known for what they are"
