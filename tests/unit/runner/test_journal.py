"""An interrupted load run resumes: known processes are kept, other bytes are measured again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Cell, cli
from evenbench.harness.core import artifact_store
from evenbench.harness.core.cases import Entry
from evenbench.harness.load import session as load_session
from evenbench.harness.load.scenarios import SINGLE, SWEEP, Scenario
from evenbench.harness.results import records
from evenbench.harness.runner import job as runner_job
from evenbench.harness.runner import launcher
from evenbench.harness.runner.job import Job
from tests.unit.builders import cell, plan, register, work_here

SHORT = Scenario(SINGLE, seconds=0.01)
SIZES = Scenario(SWEEP, seconds=0.01, batches=(1, 4))
TWO = (cell(), cell("twin"))


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    register(monkeypatch)
    return work_here(monkeypatch)


def session(
    folder: Path, *cells: Cell, scenario: Scenario = SHORT, processes: int = 1, **more: Any
) -> load_session.LoadSession:
    entries = [Entry(declared, "bench.py::case", "evenbench run bench.py") for declared in cells]
    return load_session.LoadSession(
        entries, scenario, plan(processes=processes), folder / "results", **more
    )


def stop_at(words: str, number: int = 1) -> Callable[[str], None]:
    """A listener that raises KeyboardInterrupt at the `number`-th message with `words`."""
    heard: list[str] = []

    def tell(text: str) -> None:
        heard.extend([text] if words in text else [])
        if len(heard) == number:
            raise KeyboardInterrupt

    return tell


def interrupted(
    folder: Path, *cells: Cell, words: str, number: int = 1, **more: Any
) -> load_session.LoadSession:
    """A session interrupted at the `number`-th message with `words`."""
    stopped = session(folder, *cells, tell=stop_at(words, number), **more)
    with pytest.raises(KeyboardInterrupt):
        stopped.measure()
    return stopped


def measured(jobs: Sequence[Job]) -> list[str]:
    return [job.cell.backend for job in jobs if job.task == "load"]


def written(folder: Path) -> list[dict[str, Any]]:
    """The result lines on disk."""
    (file,) = (folder / "results" / load_session.FOLDER).glob("*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def unfinished(folder: Path) -> list[Path]:
    return list((folder / "results" / load_session.FOLDER / records.UNFINISHED).glob("*"))


def test_finished_cells_are_kept(jobs: list[Job], tmp_path: Path) -> None:
    first = interrupted(tmp_path, *TWO, words="1/1", number=2)
    (done,), before = measured(jobs), first.file.read_bytes()
    jobs.clear()
    again = session(tmp_path, *TWO)
    assert again.journal.resumed
    assert again.known() == "1 of 2 outcomes known"
    lines = again.measure()
    assert measured(jobs) == [name for name in ("product", "twin") if name != done]
    assert [line["cell"]["backend"] for line in lines] == ["product", "twin"]
    assert again.file == first.file
    assert again.file.read_bytes().startswith(before), "a line that was on the disk has changed"
    assert len(written(tmp_path)) == 2
    assert len({(line["run"]["id"], line["run"]["started"]) for line in written(tmp_path)}) == 1
    assert unfinished(tmp_path) == []


def test_single_processes_are_not_repeated(jobs: list[Job], tmp_path: Path) -> None:
    interrupted(tmp_path, *TWO, words="3/3", processes=3)
    assert len(measured(jobs)) == 4
    jobs.clear()
    again = session(tmp_path, *TWO, processes=3)
    assert again.known() == "0 of 2 outcomes known and 4 of the other cells' processes measured"
    lines = again.measure()
    assert sorted(measured(jobs)) == ["product", "twin"]
    for line in lines:
        assert [len(point["laps_ns"]) for part in line["parts"] for point in part["points"]] == [3]


def test_the_parts_of_a_batch_sweep_are_kept_separately(jobs: list[Job], tmp_path: Path) -> None:
    interrupted(tmp_path, cell(), scenario=SIZES, processes=2, words="2/2", number=2)
    assert len(measured(jobs)) == 3
    jobs.clear()
    again = session(tmp_path, cell(), scenario=SIZES, processes=2)
    assert again.known() == "0 of 1 outcomes known and 3 of the other cells' processes measured"
    (line,) = again.measure()
    assert len(measured(jobs)) == 1
    assert [[len(point["laps_ns"]) for point in part["points"]] for part in line["parts"]] == [
        [2],
        [2],
    ]


def test_a_torn_last_line_is_dropped_and_costs_no_measurement(
    jobs: list[Job], tmp_path: Path
) -> None:
    first = interrupted(tmp_path, *TWO, words="1/1", number=2)
    first.file.write_bytes(first.file.read_bytes()[:-40])
    jobs.clear()
    again = session(tmp_path, *TWO)
    assert again.known() == "0 of 2 outcomes known and 1 of the other cells' processes measured"
    again.measure()
    assert len(measured(jobs)) == 1, "what the process measured was still there"
    assert [line["outcome"] for line in written(tmp_path)] == ["ok", "ok"]


def other_format(backend: Any, source: Any, cell: Cell, folder: Path) -> dict[str, Any]:
    np.save(
        folder / "weights.npy", np.load(source.weights_folder / "weights.npy").astype(np.float32)
    )
    (folder / "more").write_text("of a newer exporter")
    return {}


def test_measurements_of_another_artifact_are_repeated(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path, *TWO, words="2/2", number=2, processes=2)
    (old,) = written(tmp_path)
    monkeypatch.setattr(
        "tests.unit.builders.Product.artifact_key", lambda backend, cell: {"flag": "new"}
    )
    monkeypatch.setattr("tests.unit.builders.Product.prepare", other_format)
    jobs.clear()
    again = session(tmp_path, *TWO, processes=2)
    assert again.journal.resumed
    again.measure()
    assert sorted(measured(jobs)) == ["product", "product", "twin", "twin"]
    lines = written(tmp_path)
    assert sorted(line["cell"]["backend"] for line in lines) == ["product", "twin"], (
        "the stale line is gone"
    )
    assert old["parts"][0]["artifact_sha256"] not in [
        part["artifact_sha256"] for line in lines for part in line["parts"]
    ]


def test_wrong_cells_are_measured_again_and_unsupported_cells_are_kept(
    jobs: list[Job], tmp_path: Path
) -> None:
    cells = (cell("oneweight"), cell("absent"), cell("product", precision="bf16"), cell("twin"))
    interrupted(tmp_path, *cells, words="1/1", number=2)
    assert len(measured(jobs)) == 1
    jobs.clear()
    heard: list[str] = []
    session(tmp_path, *cells, tell=heard.append).measure()
    assert "oneweight" in measured(jobs)
    assert [text for text in heard if "bf16" in text] == []
    outcomes = {line["cell"]["backend"]: line["outcome"] for line in written(tmp_path)}
    assert outcomes == {
        "oneweight": "mismatch",
        "absent": "unavailable",
        "product": "unsupported",
        "twin": "ok",
    }
    assert len(written(tmp_path)) == 4, "a cell has two lines"


@pytest.mark.parametrize(
    "changed",
    [
        {"scenario": replace(SHORT, seconds=0.02)},
        {"scenario": SIZES},
        {"processes": 2},
        {"seed": 1},
        {"fresh": True},
    ],
)
def test_another_command_begins_anew_and_leaves_the_file_alone(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    first = interrupted(tmp_path, *TWO, words="1/1", number=2)
    before = first.file.read_bytes()
    other = session(tmp_path, *TWO, **changed)
    assert not other.journal.resumed
    other.measure()
    assert other.file != first.file
    assert first.file.read_bytes() == before
    assert not session(tmp_path, TWO[0]).journal.resumed, "fewer cells are another command"
    assert session(tmp_path, *TWO).journal.resumed, "the interrupted one is still there"


def test_a_format_that_changed_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path, *TWO, words="1/1", number=2)
    monkeypatch.setattr(records, "LOAD", replace(records.LOAD, newest=records.LOAD.newest + 1))
    assert not session(tmp_path, *TWO).journal.resumed


def test_a_finished_run_is_not_resumed(jobs: list[Job], tmp_path: Path) -> None:
    session(tmp_path, *TWO).measure()
    jobs.clear()
    again = session(tmp_path, *TWO)
    assert not again.journal.resumed
    again.measure()
    assert sorted(measured(jobs)) == ["product", "twin"]


# -- the command -----------------------------------------------------------------------------------

WORDS = (
    "load",
    "bench_it.py",
    "--scenario",
    "single-stream",
    "--seconds",
    "0.01",
    "--plan",
    "quick",
)


def test_the_command_reports_kept_and_resumed_results(
    jobs: list[Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    source = (
        "from harness import Case\nfrom tests.unit.builders import PRODUCT\n"
        "it = Case((PRODUCT,), ('product', 'twin'))\n"
    )
    (tmp_path / "bench_it.py").write_text(source)
    run = launcher.run

    def stopping(job: Job, *rest: Any) -> runner_job.Reply:
        if job.task == "load" and measured(jobs):
            raise KeyboardInterrupt
        return run(job, *rest)

    monkeypatch.setattr(launcher, "run", stopping)
    assert cli.main(list(WORDS)) == 130
    assert (
        "interrupted: 1 of 2 outcomes known, all kept; the same command resumes the run"
        in capsys.readouterr().err
    )
    monkeypatch.setattr(launcher, "run", run)
    assert cli.main([*WORDS, "--json"]) == 0
    output = capsys.readouterr()
    assert ": 1 of 2 outcomes known" in output.err
    assert "resuming run" in output.err
    printed = json.loads(output.out)
    assert printed["resumed"] is True
    assert [line["outcome"] for line in printed["lines"]] == ["ok", "ok"]
    assert len(measured(jobs)) == 2


# -- kinds of lines --------------------------------------------------------------------------------


def test_a_reader_takes_lines_of_a_single_format(tmp_path: Path) -> None:
    named = {
        "time": "t",
        "outcome": "ok",
        "cell": {"key": "k", "id": "i", "model": "m", "backend": "b"},
    }
    kinds = {
        records.OUTCOMES: {"schema": records.SCHEMA, **named},
        records.LOAD: {"load": 1, "boundary": "host_to_host", **named},
        records.PIPELINE: {"schema": 1, "boundary": "pipeline", **named},
    }
    file = tmp_path / "all.jsonl"
    for line in kinds.values():
        records.append(file, line)
    for form, line in kinds.items():
        reading = records.read([file], form)
        assert reading.lines == (line,)
        assert len(reading.notes) == 2
        assert all(f"not {form.what}, left out" in note for note in reading.notes)


def test_a_line_of_a_newer_format_is_left_out_with_a_note(tmp_path: Path) -> None:
    named = {
        "time": "t",
        "outcome": "ok",
        "cell": {"key": "k", "id": "i", "model": "m", "backend": "b"},
    }
    records.append(tmp_path / "new.jsonl", {"load": 2, "boundary": "host_to_host", **named})
    reading = records.read([tmp_path / "new.jsonl"], records.LOAD)
    assert reading.lines == ()
    assert "load 2 is newer than 1, left out; upgrade evenbench" in reading.notes[0]
