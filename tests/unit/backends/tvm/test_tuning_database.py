"""A tuner's records as files: partial lines after a kill, concurrent tuners, estimates by trial."""

import json
import os

import pytest

from evenbench.backends.tvm import tuning_database
from evenbench.backends.tvm.tuning_database import Coverage
from evenbench.harness import UsageError


def record(workload, *seconds):
    return json.dumps([workload, [[], list(seconds), "target", []]]) + "\n"


def written(folder, *lines):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / tuning_database.RECORDS).write_text("".join(lines))
    return folder


def test_an_absent_database_has_no_trials(tmp_path):
    assert tuning_database.recorded_trials(tmp_path / "absent") == 0
    assert tuning_database.requested_trials(tmp_path / "absent") == 0
    assert tuning_database.tuning_seconds(tmp_path / "absent") == 0.0


def test_a_half_written_line_is_no_trial_and_is_cut_off_before_writing(tmp_path):
    folder = written(tmp_path, record(0, 1e-3), record(1, 2e-3)[:-9])
    assert tuning_database.recorded_trials(folder) == 1
    with tuning_database.lock_for_writing(folder):
        assert (folder / tuning_database.RECORDS).read_text() == record(0, 1e-3)


def test_a_database_has_one_writer(tmp_path):
    with (
        tuning_database.lock_for_writing(tmp_path),
        pytest.raises(UsageError, match="another tuner is writing"),
        tuning_database.lock_for_writing(tmp_path),
    ):
        pass
    with tuning_database.lock_for_writing(tmp_path):
        pass


def test_the_curve_begins_where_every_task_ran_and_only_falls(tmp_path):
    lines = [
        record(0, 5e-6),
        record(0, 4e-6),
        record(1, 1e10),
        record(1, 3e-6),
        record(0, 9e-6),
        record(0, 1e-6, 3e-6),
        record(7, 1e-9),
    ]
    folder = written(tmp_path, *lines)
    coverage = Coverage(tasks=2, calls={0: 1.0, 1: 2.0})
    assert coverage.curve_us(folder) == [(4, pytest.approx(10.0)), (6, pytest.approx(8.0))]
    assert coverage.measured(folder) == {0, 1}
    assert tuning_database.recorded_trials(folder) == 7


def test_a_task_that_never_ran_leaves_no_curve(tmp_path):
    folder = written(tmp_path, record(0, 5e-6), record(1, 1e10))
    assert Coverage(tasks=2, calls={0: 1.0, 1: 1.0}).curve_us(folder) == []
    assert Coverage(tasks=2, calls={0: 1.0, 1: 1.0}).measured(folder) == {0}
    assert Coverage(tasks=3, calls={0: 1.0}).curve_us(folder) == []


def test_seconds_count_those_of_a_tuner_that_was_killed(tmp_path):
    tuning_database.record_start(tmp_path, 60)
    began = json.loads((tmp_path / tuning_database.HISTORY).read_text())["began"]
    written(tmp_path, record(0, 1e-3))
    os.utime(tmp_path / tuning_database.RECORDS, (began + 40, began + 40))
    assert tuning_database.tuning_seconds(tmp_path) == pytest.approx(40, abs=0.01)
    tuning_database.record_start(tmp_path, 90)
    os.utime(tmp_path / tuning_database.RECORDS, (began + 99, began + 99))
    tuning_database.record_end(tmp_path, 50.0)
    assert tuning_database.tuning_seconds(tmp_path) == pytest.approx(90, abs=0.01)
    assert tuning_database.requested_trials(tmp_path) == 90


def test_a_copy_holds_whole_lines_and_the_time_of_the_last_record(tmp_path):
    folder, copy = written(tmp_path / "a", record(0, 1e-3), "[0, half"), tmp_path / "b"
    copy.mkdir()
    os.utime(folder / tuning_database.RECORDS, (1e9, 1e9))
    tuning_database.copy_complete(folder, copy)
    assert (copy / tuning_database.RECORDS).read_text() == record(0, 1e-3)
    assert (copy / tuning_database.RECORDS).stat().st_mtime == 1e9
