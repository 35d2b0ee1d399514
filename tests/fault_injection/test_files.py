"""Damaged, foreign and unwritable files: what can be read is read, the rest is named, and nothing
is overwritten.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evenbench.harness import cli
from evenbench.harness.core.errors import UsageError
from evenbench.harness.results import records
from tests.fault_injection.conftest import Measure, Register, cells


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that cannot do as asked says in its one line."""
    assert cli.main(arguments) == 4
    said = capsys.readouterr().err
    error = [line for line in said.splitlines() if line.startswith("evenbench: error: ")]
    assert len(error) == 1
    assert "Traceback" not in said
    return error[0]


@pytest.fixture
def line(register: Register, measure: Measure) -> dict[str, object]:
    """One real outcome line."""
    register("Fine")
    return dict(measure(cells("fine"))[0])


def write(file: Path, *lines: object) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        "".join(item if isinstance(item, str) else json.dumps(item) + "\n" for item in lines)
    )
    return file


def test_truncated_foreign_and_newer_lines_are_left_out_and_named(
    tmp_path: Path, line: dict[str, object]
) -> None:
    newer = {**line, "schema": records.SCHEMA + 1}
    cut = json.dumps(line)[:300]
    file = write(
        tmp_path / "damaged" / "run.jsonl",
        line,
        newer,
        "[1, 2]\n",
        "null\n",
        "no json\n",
        "\n",
        cut,
    )
    reading = records.read([file])
    assert list(reading.lines) == [line]
    assert [note.split(":")[0] for note in reading.notes] == [
        f"run.jsonl line {number}" for number in (2, 3, 4, 5, 7)
    ]
    assert "upgrade evenbench" in reading.notes[0]
    assert "truncated" in reading.notes[-1]


def test_of_a_cell_that_is_twice_in_a_run_the_later_line_counts(
    tmp_path: Path, line: dict[str, object]
) -> None:
    later = {**line, "reason": "later"}
    reading = records.read([write(tmp_path / "twice" / "run.jsonl", line, later)])
    assert list(reading.lines) == [later]
    assert "in this run twice" in reading.notes[0]


def test_a_line_after_a_torn_one_is_whole(tmp_path: Path, line: dict[str, object]) -> None:
    file = write(tmp_path / "torn" / "run.jsonl", line, json.dumps(line)[:100])
    records.append(file, {**line, "reason": "new"})
    assert [found["reason"] for found in records.read([file]).lines] == ["new"]
    assert "unreadable line" in " ".join(records.read([file]).notes)


FILL = """
import resource, sys
from pathlib import Path
from harness.results import records as results
from harness.core.errors import UsageError
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
for number in range(100):
    try:
        results.append(Path(sys.argv[1]), {"number": number, "filling": "x" * 700})
    except UsageError as error:
        sys.exit(f"{number} {error}")
"""


def test_a_disk_that_is_full_cuts_off_the_half_line_and_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(file)], capture_output=True, text=True, check=False
    )
    number, _, error = done.stderr.partition(" ")
    assert "could not append an outcome" in error
    assert "the same command again" in error
    assert [json.loads(line)["number"] for line in file.read_bytes().splitlines()] == list(
        range(int(number))
    )
    assert file.read_bytes().endswith(b"\n")


def test_a_run_on_a_full_disk_stops_and_goes_on_later(
    tmp_path: Path,
    register: Register,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register("Fine")
    arguments = [
        "run",
        "tests/fault_injection/six_cells.py",
        "--plan",
        "quick",
        "--results",
        str(tmp_path / "results"),
    ]
    synced, full = os.fsync, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    calls = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 4:
            raise full
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert "No space left on device" in told(capsys, *arguments)
    monkeypatch.setattr(os, "fsync", synced)
    assert cli.main(arguments) == 0
    assert "2 of 6 outcomes known" in capsys.readouterr().err
    assert len(records.read([tmp_path / "results"]).lines) == 6
    assert records.read([tmp_path / "results"]).notes == ()


def test_a_cache_on_a_full_disk_is_one_line(
    tmp_path: Path,
    register: Register,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register("Fine")
    write_text = Path.write_text

    def full(path: Path, *rest: object, **more: object) -> int:
        if path.name == "manifest.json" and "cache" in path.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_text(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", full)
    error = told(
        capsys, "run", "tests/fault_injection/six_cells.py", "--results", str(tmp_path / "results")
    )
    assert "No space left on device" in error
    assert list((tmp_path / "cache" / "inputs").iterdir()) == []


def test_a_corrupt_cache_entry_is_made_again(
    tmp_path: Path, register: Register, measure: Measure
) -> None:
    register("Fine")
    (before,) = measure(cells("fine"))
    (file,) = (tmp_path / "cache" / "inputs").glob("*/x.npy")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (after,) = measure(cells("fine"))
    assert after["outcome"] == "ok"
    assert file.read_bytes() == whole
    assert after["input_sha256"] == before["input_sha256"]


@pytest.mark.parametrize("damage", ["{", '{"sha256": 1}', ""])
def test_a_corrupt_cache_manifest_is_made_again(
    damage: str, tmp_path: Path, register: Register, measure: Measure
) -> None:
    register("Fine")
    measure(cells("fine"))
    (manifest,) = (tmp_path / "cache" / "artifacts").glob("*/manifest.json")
    manifest.write_text(damage)
    (line,) = measure(cells("fine"))
    assert (line["outcome"], line["prepare"]["cached"]) == ("ok", False)


def test_an_unwritable_cache_is_an_error_of_usage(
    tmp_path: Path,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register("Fine")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "file" / "below"))
    error = told(
        capsys, "run", "tests/fault_injection/six_cells.py", "--results", str(tmp_path / "results")
    )
    assert "EVENBENCH_CACHE" in error


def test_a_results_folder_that_is_a_file_is_an_error_of_usage(
    tmp_path: Path, register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    register("Fine")
    (tmp_path / "results").write_text("precious")
    error = told(
        capsys, "run", "tests/fault_injection/six_cells.py", "--results", str(tmp_path / "results")
    )
    assert "is a file" in error
    assert (tmp_path / "results").read_text() == "precious"


def test_a_backend_that_cannot_be_imported_is_a_failed_cell_and_the_others_go_on(
    register: Register, measure: Measure
) -> None:
    register(
        "Fine",
        rows="broken=tests.fault_injection.raises_on_import:Backend,absent=no.such.module:Backend",
    )
    lines = {line["cell"]["backend"]: line for line in measure(cells("broken", "fine", "absent"))}
    assert {name: line["outcome"] for name, line in lines.items()} == {
        "broken": "failed",
        "fine": "ok",
        "absent": "failed",
    }
    assert "libmissing.so.1" in lines["broken"]["reason"]
    assert "no.such.module:Backend" in lines["absent"]["reason"]


def test_listing_and_the_doctor_survive_a_backend_that_cannot_be_imported(
    register: Register, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(rows="fine=tests.fault_injection.raises_on_import:Backend")
    assert cli.main(["list", "tests/fault_injection/six_cells.py"]) == 0
    assert "libmissing.so.1" in capsys.readouterr().out
    assert cli.main(["doctor", "--json"]) == 0
    found = {
        backend["name"]: backend for backend in json.loads(capsys.readouterr().out)["backends"]
    }
    assert found["fine"]["status"] == "broken"
    assert found["null"]["status"] == "here"


def test_two_backends_of_one_name_are_an_error_of_usage(
    register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    register(rows="null=tests.fault_injection.broken:Fine")
    error = told(capsys, "list", "tests/fault_injection/six_cells.py")
    assert "two backends are named 'null'" in error
    assert "evenbench.backends.controls.null:Null" in error
    assert "tests.fault_injection.broken:Fine" in error


def test_an_unknown_backend_is_an_error_of_usage(
    register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    register("Hang")
    error = told(capsys, "list", "tests/fault_injection/six_cells.py")
    assert "unknown backend 'fine'" in error
    assert "hang" in error


def test_reading_what_is_not_there_is_an_error_of_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no such results" in told(
        capsys, "report", str(tmp_path / "nothing"), "-o", str(tmp_path / "site")
    )
    with pytest.raises(UsageError):
        records.read([tmp_path / "nothing"])
