"""What a plan resolves, predicted from earlier results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evenbench.harness.core import artifact_store
from evenbench.harness.core.cases import Entry
from evenbench.harness.runner import outlook
from evenbench.harness.runner.outlook import Past
from evenbench.harness.runner.schedule import Run
from tests.unit.builders import cell, plan, register, work_here

PLAN = plan(processes=3, most_processes=8, half_width=0.03)


def test_the_minimum_is_enough_for_steady_groups() -> None:
    text = outlook.predict([Past(20.0, 3, [0.01, 0.02])], PLAN)
    assert text == (
        "by earlier results here, 2 of 2 ratios within ±3 % in about 1 min of measuring, the "
        "widest ±2 %"
    )


def test_a_wide_ratio_gets_sweeps_until_it_is_precise() -> None:
    """6 % after 2 sweeps are 3 % after 8, and 6 * sqrt(2 / 3) = 4.9 % after 3."""
    wide = Past(60.0, 2, [0.06])
    assert "1 of 1 ratios within ±3 % in about 8 min" in outlook.predict([wide], PLAN)
    assert wide.planned == 8


def test_a_budget_goes_to_the_widest_ratio() -> None:
    """Minimum: 6 minutes for both. The rest buys 2 sweeps, both for the wide group."""
    wide, close = Past(60.0, 3, [0.06]), Past(60.0, 3, [0.035])
    text = outlook.predict([wide, close], replace(PLAN, budget_seconds=485.0))
    assert (wide.planned, close.planned) == (5, 3)
    assert "0 of 2 ratios" in text
    assert "the widest ±4.8 %" in text, "0.06 * sqrt(3 / 5) = 0.0465, and its exponential"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    register(monkeypatch)
    work_here(monkeypatch)
    return tmp_path / "results"


def test_a_second_run_knows_what_the_first_reached(folder: Path) -> None:
    entries = [Entry(cell()), Entry(cell("twin"))]
    first = Run(entries, plan(processes=3, half_width=10.0), folder)
    assert first.outlook() == "", "nothing was measured here before"
    first.measure(entries)
    first.finish()
    again = Run(entries, plan(processes=3, half_width=10.0), folder)
    assert again.outlook().startswith("by earlier results here, 1 of 1 ratios within ±")
    assert Run(entries, plan(), folder).outlook() == "", "this plan has no half-width"


def test_results_of_another_machine_do_not_count(folder: Path) -> None:
    entries = [Entry(cell()), Entry(cell("twin"))]
    run = Run(entries, plan(processes=3, half_width=10.0), folder)
    run.measure(entries)
    run.finish()
    lines = [json.loads(line) for line in run.file.file.read_text().splitlines()]
    for line in lines:
        line["environment"]["cpu"] = "another"
    run.file.file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert Run(entries, plan(processes=3, half_width=10.0), folder).outlook() == ""
