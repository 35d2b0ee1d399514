"""A run writes exactly one line per cell, measured in K processes spread over the session."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from evenbench.harness.core import artifact_store
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.types import BOUNDARIES, Cell
from evenbench.harness.environment import cpu, system_info
from evenbench.harness.results import records
from evenbench.harness.results.records import Record
from evenbench.harness.runner import declared_sources
from evenbench.harness.runner.job import Job
from evenbench.harness.runner.schedule import Event, Run
from tests.unit.builders import cell, plan, register, work_here

STARTING = ("load", "compile", "first_step")

EVERY = [
    ("product", {}, "ok"),
    ("twin", {}, "ok"),
    ("oneweight", {}, "mismatch"),
    ("narrows", {"precision": "fp16"}, "fallback"),
    ("product", {"precision": "bf16"}, "unsupported"),
    ("absent", {}, "unavailable"),
    ("raises", {}, "failed"),
    ("null", {}, "ok"),
]


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    register(monkeypatch)
    return work_here(monkeypatch)


def entries(*cells: Cell) -> list[Entry]:
    return [Entry(declared, "bench.py::case", "evenbench run bench.py") for declared in cells]


def start(wanted: Sequence[Entry], folder: Path, processes: int = 3, **more: Any) -> Run:
    return Run(wanted, plan(processes=processes), folder / "results", **more)


def measured(jobs: Sequence[Job]) -> list[str]:
    return [job.cell.backend for job in jobs if job.task == "measure"]


@pytest.fixture
def lines(tmp_path: Path) -> dict[str, Record]:
    """A line on disk for each possible outcome, by backend and precision."""
    wanted = entries(*(cell(backend, **axes) for backend, axes, _ in EVERY))
    run = start(wanted, tmp_path, processes=2)
    run.measure(wanted)
    run.finish()
    text = run.file.file.read_text().splitlines()
    assert len(text) == len(EVERY), "a cell has no line, or two"
    return {
        f"{line['cell']['backend']} {line['cell']['precision']}": line
        for line in map(json.loads, text)
    }


def test_every_cell_has_the_expected_outcome(lines: dict[str, Record]) -> None:
    assert {name: line["outcome"] for name, line in lines.items()} == {
        f"{backend} {axes.get('precision', 'fp32')}": outcome for backend, axes, outcome in EVERY
    }


def test_every_line_is_valid_by_the_published_schema(lines: dict[str, Record]) -> None:
    validator = jsonschema.Draft202012Validator(records.schema())
    for line in lines.values():
        assert [error.message for error in validator.iter_errors(line)] == []


def test_the_verified_bytes_are_the_timed_bytes(lines: dict[str, Record]) -> None:
    judged = [line for line in lines.values() if line["parity"]]
    assert {line["outcome"] for line in judged} == {"ok", "mismatch", "fallback"}
    for line in judged:
        assert line["parity"]["artifact_sha256"] == line["artifact_sha256"] != ""
        assert line["parity"]["input_sha256"] == line["input_sha256"] != ""


def test_only_lines_without_a_number_have_a_reason(lines: dict[str, Record]) -> None:
    for line in lines.values():
        assert bool(line["reason"]) == bool(line["phase"]) == (line["outcome"] != "ok")
    assert "asked for precision fp16, ran fp32" in lines["narrows fp16"]["reason"]
    assert "times the allowed tolerance" in lines["oneweight fp32"]["reason"]


def test_a_failure_keeps_the_tail_of_its_traceback(lines: dict[str, Record]) -> None:
    line = lines["raises fp32"]
    assert (line["phase"], line["reason"]) == ("load", "RuntimeError: the runtime gave up")
    assert "builders.py" in line["traceback"]


def test_raw_laps_of_every_process_are_kept(lines: dict[str, Record]) -> None:
    line = lines["product fp32"]
    for boundary in BOUNDARIES:
        assert [len(laps) >= 8 for laps in line["samples_ns"][boundary]] == [True, True]
    assert [seconds > 0 for seconds in line["process_seconds"]] == [True, True]


def test_a_control_is_measured_and_not_judged(lines: dict[str, Record]) -> None:
    assert (lines["null fp32"]["role"], lines["null fp32"]["parity"]) == ("control", None)


def test_processes_of_a_cell_are_spread_over_sweeps(jobs: list[Job], tmp_path: Path) -> None:
    wanted = entries(
        *(cell("product", batch=batch) for batch in (1, 2, 3)),
        *(cell("twin", batch=batch) for batch in (1, 2, 3)),
    )
    start(wanted, tmp_path).measure(wanted)
    order = [job.cell.key for job in jobs if job.task == "measure"]
    sweeps = [order[at : at + 6] for at in range(0, 18, 6)]
    assert all(sorted(sweep) == sorted(entry.cell.key for entry in wanted) for sweep in sweeps)
    assert len({tuple(sweep) for sweep in sweeps}) > 1, "every sweep has the same order"
    assert [job.task for job in jobs].index("measure") == len(jobs) - 18, (
        "something was prepared while cells were timed"
    )


def test_only_processes_that_loaded_alone_have_a_cold_start(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "cores", lambda: 2)
    wanted = entries(cell(), cell("twin"))
    for line in start(wanted, tmp_path).measure(wanted):
        assert (line["outcome"], len(line["process_seconds"])) == ("ok", 3)
        starts = [line["import_seconds"], *(line["phases_seconds"][name] for name in STARTING)]
        assert [len(seconds) for seconds in starts] == [1, 1, 1, 1]
        assert len(line["phases_seconds"]["warm_up"]) == len(line["warm_up"]) == 3
    pauses = [job.payload.pauses for job in jobs if job.task == "measure"]
    assert pauses == [False] * 2 + [True] * 4


def test_wrong_outputs_end_a_cell_after_one_process(jobs: list[Job], tmp_path: Path) -> None:
    wanted = entries(cell("oneweight"), cell())
    start(wanted, tmp_path).measure(wanted)
    assert (measured(jobs).count("oneweight"), measured(jobs).count("product")) == (1, 3)


def test_lines_come_back_in_the_order_asked(tmp_path: Path) -> None:
    wanted = entries(cell("twin"), cell("absent"), cell())
    lines = start(wanted, tmp_path).measure(wanted)
    assert [line["cell"]["backend"] for line in lines] == ["twin", "absent", "product"]


def test_known_outcomes_are_not_measured_again(jobs: list[Job], tmp_path: Path) -> None:
    wanted = entries(cell(), cell("twin"))
    run = start(wanted, tmp_path)
    first = run.measure(wanted[:1])
    jobs.clear()
    assert run.measure(wanted)[0] == first[0]
    assert measured(jobs) == ["twin"] * 3


class Interrupted(Exception):
    """The exception that stops a run."""


def test_an_interrupted_run_resumes_with_the_known_processes(
    jobs: list[Job], tmp_path: Path
) -> None:
    wanted = entries(cell(), cell("twin"))

    def stop(event: Event) -> None:
        if event.kind == "measure" and "sweep 3" in event.text:
            raise Interrupted

    with pytest.raises(Interrupted):
        start(wanted, tmp_path, listen=stop).measure(wanted)
    assert len(measured(jobs)) == 4
    jobs.clear()
    again = start(wanted, tmp_path)
    assert again.resumed
    lines = again.measure(wanted)
    assert sorted(measured(jobs)) == ["product", "twin"]
    assert all(len(line["process_seconds"]) == 3 for line in lines)


def test_processes_of_another_artifact_do_not_count(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = entries(cell())

    def stop(event: Event) -> None:
        if event.kind == "measure" and "sweep 2" in event.text:
            raise Interrupted

    with pytest.raises(Interrupted):
        start(wanted, tmp_path, listen=stop).measure(wanted)
    monkeypatch.setattr(
        "tests.unit.builders.Product.artifact_key", lambda backend, cell: {"flag": "new"}
    )
    monkeypatch.setattr("tests.unit.builders.Product.prepare", other_format)
    jobs.clear()
    start(wanted, tmp_path).measure(wanted)
    assert measured(jobs) == ["product"] * 3


def other_format(backend: Any, source: Any, cell: Cell, folder: Path) -> dict[str, Any]:
    import numpy as np

    np.save(
        folder / "weights.npy", np.load(source.weights_folder / "weights.npy").astype(np.float32)
    )
    (folder / "more").write_text("of a newer exporter")
    return {}


def test_events_count_up_to_the_total(tmp_path: Path) -> None:
    heard: list[Event] = []
    wanted = entries(cell(), cell("oneweight"), cell("absent"), cell("raises"))
    start(wanted, tmp_path, listen=heard.append).measure(wanted)
    steps = [event.steps for event in heard]
    assert steps == sorted(steps)
    assert (heard[-1].steps, heard[-1].total) == (16, 16)
    assert sum(1 for event in heard if event.kind == "outcome") == 4


def test_a_finished_run_leaves_the_lines_only(tmp_path: Path) -> None:
    wanted = entries(cell())
    run = start(wanted, tmp_path)
    run.measure(wanted)
    run.finish()
    assert [path.name for path in (tmp_path / "results").rglob("*") if path.is_file()] == [
        f"{run.file.id}.jsonl"
    ]


def test_an_incomplete_run_is_left_to_be_resumed(tmp_path: Path) -> None:
    wanted = entries(cell(), cell("twin"))
    run = start(wanted, tmp_path)
    run.measure(wanted[:1])
    run.finish()
    assert run.file.work.is_dir()
    assert start(wanted, tmp_path).resumed


def interrupted(wanted: Sequence[Entry], folder: Path) -> Run:
    """A run with a first outcome, and without an end."""
    run = start(wanted, folder, processes=1)
    run.measure(wanted[:1])
    return run


@pytest.mark.parametrize("what", ["commit", "sources"])
def test_a_run_of_other_code_is_not_resumed(
    what: str, jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = entries(cell("product"), cell("twin"))
    first = interrupted(wanted, tmp_path)
    jobs.clear()
    if what == "sources":
        monkeypatch.setattr(declared_sources, "digest_of", lambda known: "other sources")
    else:
        here = {**system_info.describe(), "commit": "other"}
        monkeypatch.setattr(system_info, "describe", lambda *distributions: here)
    again = start(wanted, tmp_path, processes=1)
    assert not again.resumed
    assert again.journal.changed == (
        f"the {what} changed since run {first.file.id}: starting anew; "
        f"its results stay in {first.file.file}"
    )
    again.measure(wanted)
    assert sorted(measured(jobs)) == ["product", "twin"]
    assert len(first.file.outcomes()) == 1
    again.finish()
    later = start(wanted, tmp_path, processes=1)
    assert (later.resumed, later.journal.changed) == (False, ""), "said once"


def test_a_run_of_the_same_code_is_resumed_without_a_note(tmp_path: Path) -> None:
    wanted = entries(cell("product"), cell("twin"))
    interrupted(wanted, tmp_path)
    again = start(wanted, tmp_path, processes=1)
    assert (again.resumed, again.journal.changed) == (True, "")
    assert start(wanted, tmp_path, processes=1, fresh=True).journal.changed == ""
