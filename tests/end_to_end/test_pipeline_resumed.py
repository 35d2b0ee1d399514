"""A pipeline that was interrupted goes on in its folder: on the same frames, and with what it had
measured and drawn.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filmed
import numpy as np
import pytest
from conftest import variables

from evenbench.harness import cli
from evenbench.harness.core import artifact_store, exit_codes
from evenbench.harness.pipeline import film, session, video
from evenbench.harness.results import records
from evenbench.harness.runner import job as runner_job
from evenbench.harness.runner import launcher
from evenbench.harness.runner.job import Job
from tests.unit.builders import register, work_here

for package in ("av", "skimage", "sklearn"):
    pytest.importorskip(package)

TWO = (
    "pipeline",
    "bench_pictures.py::pictures",
    "--backends",
    "painter,sleeper",
    "--video",
    "colours.mp4",
    "--plan",
    "quick",
)
KEPT = "interrupted: 1 of 2 outcomes known, all kept; the same command resumes the run"


def colours(file: Path, shade: int = 0) -> None:
    """A video of twelve colours."""
    frames = [
        (20 * number % 256, 255 - 12 * number, 40 * (number % 6) + shade) for number in range(12)
    ]
    video.encode([np.full((48, 64, 3), colour, np.uint8) for colour in frames], file)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """A user's folder, and workers that do their jobs in this process."""
    (tmp_path / "bench_pictures.py").write_text("from filmed import pictures\n")
    colours(tmp_path / "colours.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    register(monkeypatch, filmed.BACKENDS)
    return work_here(monkeypatch)


def measured(jobs: Sequence[Job]) -> list[str]:
    return [job.cell.backend for job in jobs if job.task == "pipeline"]


def interrupt(monkeypatch: pytest.MonkeyPatch, task: str, number: int, *words: str) -> int:
    """Run the command and interrupt it when its so-many-th process of a task would begin; returns
    the exit code.
    """
    run, seen = launcher.run, []

    def stopping(job: Job, *rest: Any) -> runner_job.Reply:
        seen.extend([job] if job.task == task else [])
        if len(seen) == number:
            raise KeyboardInterrupt
        return run(job, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(launcher, "run", stopping)
        return cli.main([*TWO, *words])


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in (folder / session.LINES).read_text().splitlines()]
    assert len({line["cell"]["key"] for line in found}) == len(found), "a cell has two lines"
    return {line["cell"]["backend"]: line for line in found}


def test_what_was_measured_and_drawn_is_taken(
    jobs: list[Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "pipeline"
    assert interrupt(monkeypatch, "pipeline", 2) == 130
    assert KEPT in capsys.readouterr().err
    (done,), before = measured(jobs), (folder / session.LINES).read_bytes()
    jobs.clear()
    assert cli.main([*TWO, "--json"]) == 0
    told = capsys.readouterr()
    assert "resuming run" in told.err
    assert "1 of 2 outcomes known" in told.err
    assert json.loads(told.out)["resumed"] is True
    assert measured(jobs) == [name for name in ("painter", "sleeper") if name != done]
    assert (folder / session.LINES).read_bytes().startswith(before)
    assert {name: line["outcome"] for name, line in lines(folder).items()} == {
        "painter": "ok",
        "sleeper": "ok",
    }
    page = (folder / "index.html").read_text()
    assert page.count("data:image/jpeg") == 6 * 3, (
        "the golden's frames and those of both, one of which drew them before"
    )
    assert not (folder / records.UNFINISHED).exists()


def test_an_interruption_at_the_end_costs_the_page_alone(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert interrupt(monkeypatch, "pictures", 1) == 130
    (tmp_path / "pipeline" / session.FRAMES).mkdir(exist_ok=True)
    (tmp_path / "pipeline" / session.FRAMES / "half.jpg").touch()
    jobs.clear()
    assert cli.main(list(TWO)) == 0
    assert measured(jobs) == []
    assert (tmp_path / "pipeline" / "index.html").is_file()
    assert not (tmp_path / "pipeline" / session.FRAMES / "half.jpg").exists()


def test_a_torn_line_is_dropped(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, "pipeline", 2)
    file = tmp_path / "pipeline" / session.LINES
    file.write_bytes(file.read_bytes()[:-30])
    jobs.clear()
    assert cli.main(list(TWO)) == 0
    assert len(measured(jobs)) == 1, "the process whose line was torn is still known"
    assert sorted(lines(tmp_path / "pipeline")) == ["painter", "sleeper"]


@pytest.mark.parametrize(
    "words",
    [("--in-flight", "2"), ("--frames", "11"), ("--backends", "painter"), ("--plan", "default")],
)
def test_another_command_is_refused_in_words_and_loses_nothing(
    words: tuple[str, ...],
    jobs: list[Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt(monkeypatch, "pipeline", 2)
    before = (tmp_path / "pipeline" / session.LINES).read_bytes()
    jobs.clear()
    assert cli.main([*TWO, *words]) == exit_codes.USAGE
    told = capsys.readouterr().err
    other = "holds an interrupted run of another command, video, installation or source"
    assert f"{other}: `evenbench pipeline" in told
    assert "--fresh" in told
    assert measured(jobs) == []
    assert (tmp_path / "pipeline" / session.LINES).read_bytes() == before


def test_other_frames_are_another_run(
    jobs: list[Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt(monkeypatch, "pipeline", 2)
    colours(tmp_path / "colours.mp4", shade=30)
    assert cli.main(list(TWO)) == exit_codes.USAGE
    assert (
        "interrupted run of another command, video, installation or source"
        in capsys.readouterr().err
    )


def test_fresh_measures_all_anew_and_never_touches_what_is_finished(
    jobs: list[Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt(monkeypatch, "pipeline", 2)
    (tmp_path / "pipeline" / "notes.txt").write_text("mine")
    jobs.clear()
    assert cli.main([*TWO, "--fresh"]) == 0
    assert sorted(measured(jobs)) == ["painter", "sleeper"]
    assert sorted(lines(tmp_path / "pipeline")) == ["painter", "sleeper"]
    assert (tmp_path / "pipeline" / "notes.txt").read_text() == "mine"
    before = (tmp_path / "pipeline" / session.LINES).read_bytes()
    capsys.readouterr()
    assert cli.main([*TWO, "--fresh"]) == exit_codes.USAGE
    assert "already exists; choose another" in capsys.readouterr().err
    assert (tmp_path / "pipeline" / session.LINES).read_bytes() == before


@pytest.mark.usefixtures("jobs")
def test_a_run_that_was_killed_before_it_measured_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "pipeline" / records.UNFINISHED / "run").mkdir(parents=True)
    assert cli.main(list(TWO)) == 0
    assert sorted(lines(tmp_path / "pipeline")) == ["painter", "sleeper"]


@pytest.mark.usefixtures("jobs")
def test_a_run_that_was_killed_while_it_tidied_up_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(list(TWO)) == 0
    before = (tmp_path / "pipeline" / session.LINES).read_bytes()
    (tmp_path / "pipeline" / records.UNFINISHED / "run" / session.DRAWN).mkdir(parents=True)
    assert cli.main(list(TWO)) == exit_codes.USAGE
    assert "already exists; choose another" in capsys.readouterr().err
    assert (tmp_path / "pipeline" / session.LINES).read_bytes() == before


def test_what_a_camera_showed_is_recorded_once(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def of_camera(preparer: Any, cell: Any, device: Path, most: int, folder: Path) -> film.Film:
        asked.append(device)
        shutil.copyfile(tmp_path / "colours.mp4", folder / video.RECORDING)
        facts = film.of_file(preparer, cell, folder / video.RECORDING, most).facts
        return film.Film(folder / video.RECORDING, "camera", facts)

    monkeypatch.setattr(film, "of_camera", of_camera)
    assert interrupt(monkeypatch, "pipeline", 2, "--video", "0") == 130
    jobs.clear()
    assert cli.main([*TWO, "--video", "0"]) == 0
    assert len(asked) == 1, "the camera shows something else by now"
    assert len(measured(jobs)) == 1
    assert {line["video"]["source"] for line in lines(tmp_path / "pipeline").values()} == {"camera"}
    assert (tmp_path / "pipeline" / video.RECORDING).read_bytes() == (
        tmp_path / "colours.mp4"
    ).read_bytes()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_ended_by_a_signal_goes_on(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "bench_pictures.py").write_text("from filmed import pictures\n")
    colours(tmp_path / "colours.mp4")
    command = [sys.executable, "-m", "evenbench", *TWO]
    environment = variables(tmp_path) | {"EVENBENCH_BACKENDS": filmed.BACKENDS}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    file, until = tmp_path / "pipeline" / session.LINES, time.monotonic() + 60
    while (
        process.poll() is None
        and not (file.exists() and file.read_bytes().endswith(b"\n"))
        and time.monotonic() < until
    ):
        time.sleep(0.01)
    time.sleep(0.05)  # the line is in the file a moment before the command counts it
    process.send_signal(how)
    _, told = process.communicate(timeout=30)
    before = file.read_bytes()
    assert before.count(b"\n") == 1, told
    if how == signal.SIGTERM:
        assert process.returncode == 130
        assert "interrupted: 1 of 2 outcomes known" in told
        assert "all kept; the same command resumes the run" in told
        assert "Traceback" not in told
    again = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert "resuming run" in again.stderr
    assert file.read_bytes().startswith(before)
    assert sorted(lines(tmp_path / "pipeline")) == ["painter", "sleeper"]
