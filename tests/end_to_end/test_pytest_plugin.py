"""pytest runs cases as ordinary items, and pytest-benchmark works on the harness's samples."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from importlib import metadata

import pytest
from conftest import REPOSITORY, Repository, variables

ALL_OUTCOMES = """
latency = Case(
    models=(TINY,),
    backends=("tiny", "double", "wrong", "absent", "late", "crash", "fallback"),
)
half = Case(models=(TINY,), backends=("tiny",), precisions=("fp16",))
floor = Case(models=(TINY,), backends=("null",))
"""

TWO = 'latency = Case(models=(TINY,), backends=("tiny", "double"))'

ONE = 'latency = Case(models=(TINY,), backends=("tiny",))'


INTERRUPT = """
import os

def pytest_runtest_logreport(report):
    if report.when == os.environ.get("STOP"):
        raise KeyboardInterrupt
"""


class Everything:
    """One session with every outcome and every output that a flag can ask for."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        repository.write("benchmarks/bench_tiny.py", ALL_OUTCOMES)
        flags = [
            "--benchmark-json=out.json",
            "--benchmark-autosave",
            "--benchmark-histogram=histogram",
            "--junit-xml=junit.xml",
        ]
        self.ran = repository.pytest("benchmarks", "-v", "-rs", *flags, plan="default")
        self.lines = {line["cell"]["id"]: line for line in repository.lines()}
        self.stored = {
            entry["param"]: entry for entry in json.loads(self.read("out.json"))["benchmarks"]
        }
        root = ElementTree.fromstring(self.read("junit.xml"))
        self.junit = {case.get("name"): case for case in root.iter("testcase")}

    def read(self, name: str) -> str:
        return (self.repository.folder / name).read_text()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    return Everything(Repository(tmp_path_factory.mktemp("repository")))


class TestOutcomes:
    def test_every_item_has_one(self, everything: Everything) -> None:
        assert everything.ran.code == 1
        assert "3 failed, 3 passed, 3 skipped" in everything.ran.text, everything.ran.text

    @pytest.mark.parametrize(
        "item",
        [
            "latency[tiny-tiny-fp32-cpu-b1]",
            "latency[tiny-double-fp32-cpu-b1]",
            "floor[tiny-null-fp32-cpu-b1]",
        ],
    )
    def test_right_passes(self, everything: Everything, item: str) -> None:
        assert f"bench_tiny.py::{item} PASSED" in everything.ran.text

    @pytest.mark.parametrize(
        ("item", "reason"),
        [
            ("latency[tiny-wrong-fp32-cpu-b1]", "mismatch in parity: y needs "),
            (
                "latency[tiny-crash-fp32-cpu-b1]",
                "failed in load: RuntimeError: the runtime gave up",
            ),
            (
                "latency[tiny-fallback-fp32-cpu-b1]",
                "fallback in sample: fallback: asked for precision fp32, ran bf16",
            ),
        ],
    )
    def test_wrong_fails_with_phase_reason_and_command(
        self, everything: Everything, item: str, reason: str
    ) -> None:
        assert f"bench_tiny.py::{item} FAILED" in everything.ran.text
        failure = everything.junit[item].find("failure")
        assert failure is not None
        assert str(failure.text).startswith(reason)
        cell = item.partition("[")[2].rstrip("]")
        assert (
            f"reproduce: evenbench run benchmarks/bench_tiny.py --cell {cell} --plan default"
            in str(failure.text)
        )

    @pytest.mark.parametrize(
        ("item", "reason"),
        [
            (
                "latency[tiny-absent-fp32-cpu-b1]",
                "unavailable: absent: no_such_runtime is not installed; see EVENBENCH_BACKENDS",
            ),
            ("latency[tiny-late-fp32-cpu-b1]", "unavailable: late: no such device; plug one in"),
            ("half[tiny-tiny-fp16-cpu-b1]", "unsupported: tiny runs fp32, not fp16"),
        ],
    )
    def test_what_cannot_run_here_skips_with_the_reason(
        self, everything: Everything, item: str, reason: str
    ) -> None:
        skipped = everything.junit[item].find("skipped")
        assert skipped is not None
        assert reason in str(skipped.get("message"))
        assert reason in everything.ran.text

    def test_a_failure_shows_the_end_of_the_traceback_and_none_of_pytest(
        self, everything: Everything
    ) -> None:
        assert 'raise RuntimeError("the runtime gave up")' in everything.ran.text
        assert (
            "harness/plugin"
            not in everything.ran.text.split("FAILURES")[1].split("short test summary")[0]
        )

    def test_the_summary_names_the_file_and_counts(self, everything: Everything) -> None:
        counts = "3 ok, 1 mismatch, 1 fallback, 1 unsupported, 2 unavailable, 1 failed: "
        (file,) = (everything.repository.folder / "results").glob("*.jsonl")
        assert counts + str(file) in everything.ran.text

    def test_every_cell_is_one_line(self, everything: Everything) -> None:
        assert len(everything.repository.lines()) == len(everything.lines) == 9
        assert not (everything.repository.folder / "results" / ".unfinished").exists()

    def test_no_warning(self, everything: Everything) -> None:
        assert "warning" not in everything.ran.text.lower().replace("w/ warnings", "")


class TestBenchmarkJson:
    def test_data_are_the_recorded_laps_to_the_nanosecond(self, everything: Everything) -> None:
        for cell in ("tiny-tiny-fp32-cpu-b1", "tiny-double-fp32-cpu-b1", "tiny-null-fp32-cpu-b1"):
            laps = [
                lap
                for process in everything.lines[cell]["samples_ns"]["compute"]
                for lap in process
            ]
            stats = everything.stored[cell]["stats"]
            assert stats["rounds"] == len(laps) >= 3 * 16
            assert stats["iterations"] == 1
            assert stats["data"] == [lap / 1e9 for lap in laps]
            assert [round(seconds * 1e9) for seconds in stats["data"]] == laps

    def test_only_right_answers_have_numbers(self, everything: Everything) -> None:
        assert set(everything.stored) == {
            cell for cell, line in everything.lines.items() if line["outcome"] == "ok"
        }

    def test_group_holds_what_may_be_compared(self, everything: Everything) -> None:
        groups = {cell: entry["group"] for cell, entry in everything.stored.items()}
        assert (
            groups["tiny-tiny-fp32-cpu-b1"]
            == groups["tiny-double-fp32-cpu-b1"]
            == everything.lines["tiny-tiny-fp32-cpu-b1"]["cell"]["group"]
        )
        assert groups["tiny-null-fp32-cpu-b1"].endswith(" control")

    def test_extra_info_says_what_was_measured_and_that_it_was_right(
        self, everything: Everything
    ) -> None:
        line, found = (
            everything.lines["tiny-tiny-fp32-cpu-b1"],
            everything.stored["tiny-tiny-fp32-cpu-b1"]["extra_info"],
        )
        assert (found["cell"], found["key"], found["outcome"]) == (
            "tiny-tiny-fp32-cpu-b1",
            line["cell"]["key"],
            "ok",
        )
        assert found["boundary"] == "compute"
        assert len(found["process_medians_ns"]["compute"]) == len(line["process_seconds"]) >= 3
        assert found["parity_needed"] == line["parity"]["needed"] <= found["parity_allowed"] == 1.0
        assert (found["runtime"], found["version"]) == ("tiny", "1.0")
        assert found["input_sha256"] == line["input_sha256"] != ""
        assert found["artifact_sha256"] == line["artifact_sha256"] != ""

    def test_params_are_plain(self, everything: Everything) -> None:
        params = everything.stored["tiny-tiny-fp32-cpu-b1"]["params"]
        assert {
            name: params[name] for name in ("model", "backend", "precision", "device", "batch")
        } == {
            "model": "tiny",
            "backend": "tiny",
            "precision": "fp32",
            "device": "cpu",
            "batch": 1,
        }

    def test_options_do_not_change_from_run_to_run(self, everything: Everything) -> None:
        assert (
            everything.stored["tiny-tiny-fp32-cpu-b1"]["options"]["timer"]
            == "evenbench.harness.plugin.Replay"
        )

    def test_autosave_stores_the_same_statistics(self, everything: Everything) -> None:
        (file,) = (everything.repository.folder / ".benchmarks").rglob("*.json")
        saved = {entry["param"]: entry for entry in json.loads(file.read_text())["benchmarks"]}
        assert (
            saved["tiny-tiny-fp32-cpu-b1"]["stats"]["median"]
            == everything.stored["tiny-tiny-fp32-cpu-b1"]["stats"]["median"]
        )

    def test_histogram_is_drawn_for_the_group(self, everything: Everything) -> None:
        drawn = [file.read_text() for file in everything.repository.folder.glob("histogram*.svg")]
        assert any("tiny-double-fp32-cpu-b1" in text for text in drawn)

    def test_nothing_is_timed_twice(self, everything: Everything) -> None:
        line = everything.lines["tiny-tiny-fp32-cpu-b1"]
        measured = everything.repository.processes().count("tiny-tiny-fp32-cpu-b1")
        assert measured == len(line["process_seconds"])

    def test_a_group_is_swept_interleaved(self, everything: Everything) -> None:
        order = [
            cell
            for cell in everything.repository.processes()
            if cell in ("tiny-tiny-fp32-cpu-b1", "tiny-double-fp32-cpu-b1")
        ]
        assert [set(order[sweep : sweep + 2]) for sweep in (0, 2, 4)] == [set(order)] * 3


class TestJunit:
    def test_properties(self, everything: Everything) -> None:
        found = {
            entry.get("name"): entry.get("value")
            for entry in everything.junit["latency[tiny-tiny-fp32-cpu-b1]"].iter("property")
        }
        assert found["outcome"] == "ok"
        assert (
            0
            < float(str(found["compute_median_seconds"]))
            <= float(str(found["host_to_host_median_seconds"])) * 1.5
        )
        wrong = {
            entry.get("name"): entry.get("value")
            for entry in everything.junit["latency[tiny-wrong-fp32-cpu-b1]"].iter("property")
        }
        assert wrong["outcome"] == "mismatch"
        assert "times the allowed tolerance" in str(wrong["reason"])


class TestSelection:
    def test_k_measures_only_what_it_selects(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", TWO)
        ran = repository.pytest("-k", "double", "-q")
        assert ran.code == 0, ran.text
        assert "1 passed, 1 deselected" in ran.text
        assert set(repository.processes()) == {
            "tiny-double-fp32-cpu-b1",
            "tiny-tiny-golden-fp32-cpu-b1",
        }

    def test_m_selects_by_the_marks_of_a_case_without_a_warning(
        self, repository: Repository
    ) -> None:
        repository.write(
            "bench_tiny.py",
            TWO + '\nheavy = Case(models=(TINY,), batch=(2,), backends=("tiny",), marks=("slow",))',
        )
        (repository.folder / "pytest.ini").write_text("[pytest]\nmarkers = slow: takes long\n")
        strict = ("--collect-only", "-q", "--strict-markers", "-W", "error")
        assert "heavy[tiny-tiny-fp32-cpu-b2]" in (
            text := repository.pytest("-m", "slow", *strict).text
        )
        assert "latency" not in text
        assert "3 tests collected" in repository.pytest("-m", "evenbench", *strict).text

    def test_collect_only_measures_nothing(self, repository: Repository) -> None:
        repository.write("benchmarks/bench_tiny.py", TWO)
        ran = repository.pytest("benchmarks", "--collect-only", "-q")
        assert ran.code == 0
        ids = [
            "benchmarks/bench_tiny.py::latency[tiny-tiny-fp32-cpu-b1]",
            "benchmarks/bench_tiny.py::latency[tiny-double-fp32-cpu-b1]",
        ]
        assert ran.text.splitlines()[:2] == ids
        assert not (repository.folder / "results").exists()
        assert repository.processes() == []

    def test_x_stops_and_measures_no_further_group(self, repository: Repository) -> None:
        repository.write(
            "bench_tiny.py", 'latency = Case(models=(TINY, OTHER), backends=("wrong", "tiny"))'
        )
        ran = repository.pytest("-x", "-q")
        assert ran.code == 1
        assert "stopping after 1 failures" in ran.text
        assert {line["cell"]["model"] for line in repository.lines()} == {"tiny"}

    def test_after_x_a_failure_is_measured_anew(self, repository: Repository) -> None:
        repository.write(
            "bench_tiny.py", 'latency = Case(models=(TINY, OTHER), backends=("wrong",))'
        )
        for _ in range(2):
            repository.pytest("-x", "-q")
        assert repository.processes().count("tiny-wrong-fp32-cpu-b1") == 2

    def test_an_interrupted_session_is_gone_on_with(self, repository: Repository) -> None:
        repository.write(
            "bench_tiny.py", 'latency = Case(models=(TINY, OTHER), backends=("tiny",))'
        )
        (repository.folder / "conftest.py").write_text(INTERRUPT)
        assert repository.pytest("-q", STOP="call").code == 2
        ran = repository.pytest("-q")
        assert "2 passed" in ran.text
        assert "resumed an interrupted run" in ran.text
        assert [
            repository.processes().count(f"{model}-tiny-fp32-cpu-b1") for model in ("tiny", "other")
        ] == [1, 1]

    def test_fresh_starts_anew(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", ONE)
        (repository.folder / "conftest.py").write_text(INTERRUPT)
        for phase in ("setup", "call"):
            assert repository.pytest("-q", STOP=phase).code == 2
        assert "went on" not in repository.pytest("-q", "--evenbench-fresh").text

    def test_two_cases_share_a_cell(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", f"{ONE}\nagain = {ONE.partition(' = ')[2]}")
        assert "2 passed" in repository.pytest("-q").text
        assert len(repository.lines()) == 1
        assert repository.processes().count("tiny-tiny-fp32-cpu-b1") == 1

    def test_a_skip_mark_keeps_a_cell_from_being_measured(self, repository: Repository) -> None:
        repository.write(
            "bench_tiny.py",
            f'{ONE}\nleft_out = Case(models=(TINY,), backends=("double",), marks=("skip",))',
        )
        assert "1 passed, 1 skipped" in repository.pytest("-q").text
        assert [line["cell"]["backend"] for line in repository.lines()] == ["tiny"]


class TestPytestBenchmark:
    def test_compare_and_compare_fail(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", ONE)
        assert repository.pytest("-q", "--benchmark-autosave").code == 0
        (saved,) = (repository.folder / ".benchmarks").rglob("*.json")
        for factor, code in ((1e3, 0), (1e-6, 1)):
            self._scale(saved, factor)
            ran = repository.pytest(
                "-q", "--benchmark-compare", "--benchmark-compare-fail=median:20%"
            )
            assert (ran.code, "Performance has regressed" in ran.text) == (code, bool(code)), (
                ran.text
            )
            assert "(NOW)" in ran.text
            assert "1 ok: " in ran.text

    @staticmethod
    def _scale(saved, factor: float) -> None:
        whole = json.loads(saved.read_text())
        stats = whole["benchmarks"][0]["stats"]
        stats.update({name: stats[name] * factor for name in ("min", "max", "mean", "median")})
        saved.write_text(json.dumps(whole))

    def test_group_by_an_axis(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", TWO)
        ran = repository.pytest("-q", "--benchmark-group-by=param:backend")
        assert "benchmark 'backend=double'" in ran.text
        assert "benchmark 'backend=tiny'" in ran.text

    @pytest.mark.parametrize(
        "flag",
        [
            "--benchmark-only",
            "--benchmark-cprofile=tottime",
            "--benchmark-enable",
        ],
    )
    def test_flags_that_leave_the_outcome_alone(self, repository: Repository, flag: str) -> None:
        repository.write(
            "bench_tiny.py", 'latency = Case(models=(TINY,), backends=("tiny", "wrong", "absent"))'
        )
        ran = repository.pytest("-q", "-W", "error", flag)
        assert "1 failed, 1 passed, 1 skipped" in ran.text, ran.text
        assert ("Rounds" in ran.text) == (flag != "--benchmark-disable")

    def test_skip_flag_measures_nothing(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", ONE)
        assert "1 skipped" in repository.pytest("-q", "--benchmark-skip").text
        assert repository.processes() == []

    def test_without_pytest_benchmark_items_still_have_outcomes(
        self, repository: Repository
    ) -> None:
        repository.write(
            "bench_tiny.py", 'latency = Case(models=(TINY,), backends=("tiny", "wrong", "absent"))'
        )
        ran = repository.pytest("-q", "-W", "error", "-p", "no:benchmark")
        assert "1 failed, 1 passed, 1 skipped" in ran.text, ran.text


class TestXdist:
    def test_it_refuses_with_the_reason(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", TWO)
        repository.write("test_other.py", "def test_other(): pass")
        ran = repository.pytest("-q", "-n", "2", "-p", "no:benchmark")
        assert ran.code == 1
        assert "2 failed, 1 passed" in ran.text
        assert "evenbench does not measure under pytest-xdist" in ran.text
        assert "run without -n, or with -n 0" in ran.text
        assert repository.processes() == []

    def test_beside_pytest_benchmark_too(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", ONE)
        assert "1 failed" in repository.pytest("-q", "-n", "1").text
        assert "1 passed" in repository.pytest("-q", "-n", "0").text


class TestUsageErrors:
    @pytest.mark.parametrize("name", ["bench_tiny.py", "test_tiny.py"])
    def test_an_unknown_backend(self, repository: Repository, name: str) -> None:
        file = repository.write(name, 'latency = Case(models=(TINY,), backends=("nope",))')
        ran = repository.pytest("-q")
        assert ran.code == 2
        assert f"{file}::latency: unknown backend 'nope'; expected one of " in ran.text
        assert "Traceback" not in ran.text
        assert "INTERNALERROR" not in ran.text

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ('models=TINY, backends=("tiny",)', "is one value; write a tuple"),
            ('models=(TINY,), precisions=("fp33",)', "unknown precision 'fp33'"),
            ('models=(TINY,), backends=("tiny",), marks=("a b",)', "marks holds 'a b'"),
            (
                'models=(TINY,), backends=("tiny",), options={"ort": ({},)}',
                "options name ort, which the case does not run",
            ),
        ],
    )
    def test_a_wrong_declaration_is_a_collection_error_in_one_line(
        self, repository: Repository, arguments: str, message: str
    ) -> None:
        file = repository.write("bench_tiny.py", f"latency = Case({arguments})")
        ran = repository.pytest("-q")
        assert ran.code == 2
        assert message in ran.text
        assert str(file) in ran.text
        assert "INTERNALERROR" not in ran.text
        assert "cases.py" not in ran.text

    def test_the_line_of_a_wrong_declaration_is_named(self, repository: Repository) -> None:
        file = repository.write("bench_tiny.py", "\nlatency = Case(models=())")
        assert f"{file}:4: Case: models is empty" in repository.pytest("-q").text

    def test_a_results_folder_that_is_a_file(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", ONE)
        (repository.folder / "taken").write_text("")
        ran = repository.pytest("-q", "--evenbench-results", "taken")
        assert ran.code == 4
        assert f"results folder {repository.folder / 'taken'} is a file" in ran.text
        assert "Traceback" not in ran.text

    def test_a_file_named_results_does_not_disturb_other_tests(
        self, repository: Repository
    ) -> None:
        repository.write("test_other.py", "def test_other(): pass")
        (repository.folder / "results").write_text("")
        assert "1 passed" in repository.pytest("-q").text

    def test_an_unknown_plan(self, repository: Repository) -> None:
        ran = repository.pytest(plan="swift")
        assert ran.code == 4
        assert "invalid choice: 'swift'" in ran.text


class TestOptions:
    def test_results_folder(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", ONE)
        assert repository.pytest("-q", "--evenbench-results", "elsewhere/deep").code == 0
        (line,) = repository.lines("elsewhere/deep")
        assert line["run"]["plan"] == "quick"
        assert line["case"] == "bench_tiny.py::latency"
        assert not (repository.folder / "results").exists()

    def test_progress_is_told_with_v_and_not_without(self, repository: Repository) -> None:
        repository.write("bench_tiny.py", ONE)
        told = repository.pytest("-v").text
        assert "measure tiny-fp32-cpu-b1" in told
        assert "sweep 1: loading tiny" in told
        assert "round 1" not in told
        assert "loading tiny" not in repository.pytest().text


class TestCollection:
    def test_the_entry_point_is_enough(self) -> None:
        (point,) = metadata.entry_points(group="pytest11", name="evenbench")
        assert hasattr(point.load(), "pytest_collect_file")
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        assert project["entry-points"]["pytest11"] == {"evenbench": "evenbench_pytest"}

    def test_a_case_in_a_test_module_beside_tests(self, repository: Repository) -> None:
        repository.write("test_tiny.py", f"{ONE}\n_private = latency\ndef test_other(): pass")
        ran = repository.pytest("-v")
        assert "test_tiny.py::latency[tiny-tiny-fp32-cpu-b1] PASSED" in ran.text
        assert "2 passed" in ran.text

    @pytest.mark.parametrize("mode", ["prepend", "importlib"])
    def test_a_package_with_its_models_beside(self, repository: Repository, mode: str) -> None:
        (repository.folder / "benchmarks").mkdir()
        (repository.folder / "benchmarks" / "__init__.py").write_text("")
        repository.write("benchmarks/models.py", "MINE = TINY")
        repository.write(
            "benchmarks/bench_tiny.py",
            "from benchmarks.models import MINE\n"
            'latency = Case(models=(MINE,), backends=("tiny",))',
        )
        for target in ("benchmarks", "benchmarks/bench_tiny.py", "."):
            ran = repository.pytest("-q", f"--import-mode={mode}", target)
            assert "1 passed" in ran.text, ran.text

    def test_functions_declared_in_the_file_itself_reach_the_worker_in_both_modes(
        self, repository: Repository
    ) -> None:
        text = (
            "import tiny\nfrom harness import Model\n"
            "def samples(model):\n    return tiny.samples(model)\n"
        )
        model = (
            'Model("mine", "tiny:build", tiny.INPUTS, tiny.OUTPUTS, inputs_from=samples, '
            'task="regression")'
        )
        repository.write(
            "benchmarks/bench_tiny.py",
            f'{text}\nlatency = Case(models=({model},), backends=("tiny",))',
        )
        for mode in ("prepend", "importlib"):
            ran = repository.pytest("-q", f"--import-mode={mode}")
            assert "1 passed" in ran.text, ran.text

    def test_a_script_that_declares_nothing_is_left_alone(self, repository: Repository) -> None:
        (repository.folder / "bench_script.py").write_text("raise SystemExit('imported')")
        repository.write("test_other.py", "def test_other(): pass")
        assert "1 passed" in repository.pytest("-q").text

    def test_loading_the_plugin_imports_no_runtime(self) -> None:
        heavy = ("numpy", "torch", "onnxruntime", "openvino")
        code = (
            "import sys; import harness.plugin; "
            f"print([name for name in {heavy} if name in sys.modules])"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert ran.stdout.strip() == "[]"


def test_a_backend_in_another_environment_is_an_item_like_any_other(repository: Repository) -> None:
    repository.write(
        "benchmarks/bench_tiny.py",
        'latency = Case(models=(TINY,), backends=("tiny", "tiny@1.24.1", "tiny@nowhere"))',
    )
    ran = repository.pytest(
        "benchmarks", "-v", "--benchmark-json=out.json", EVENBENCH_PYTHON_1_24_1=sys.executable
    )
    assert ran.code == 0, ran.text
    outcomes = {line["cell"]["backend"]: line["outcome"] for line in repository.lines()}
    assert outcomes == {"tiny": "ok", "tiny@1.24.1": "ok", "tiny@nowhere": "unavailable"}
    assert "latency[tiny-tiny@1.24.1-fp32-cpu-b1] PASSED" in ran.text
    stored = json.loads((repository.folder / "out.json").read_text())["benchmarks"]
    assert {entry["params"]["backend"] for entry in stored} == {"tiny", "tiny@1.24.1"}
    one = repository.pytest(
        "benchmarks/bench_tiny.py::latency[tiny-tiny@1.24.1-fp32-cpu-b1]",
        EVENBENCH_PYTHON_1_24_1=sys.executable,
    )
    assert "1 passed" in one.text, one.text
    selected = repository.pytest("benchmarks", "--collect-only", "-q", "-k", "1.24.1")
    assert "tiny@1.24.1" in selected.text
    assert "tiny@nowhere" not in selected.text


class TestThisRepository:
    @staticmethod
    def _collect(*arguments: str) -> list[str]:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "benchmarks/",
            "--collect-only",
            "-q",
            *arguments,
        ]
        kept = {
            name: value
            for name, value in variables(REPOSITORY).items()
            if not name.startswith("EVENBENCH_")
        }
        ran = subprocess.run(
            command, cwd=REPOSITORY, env=kept, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return [line for line in ran.stdout.splitlines() if "::" in line]

    def test_collect_only(self) -> None:
        assert (
            "benchmarks/bench_classification.py::latency[resnet18-ort-fp32-cpu-b1]"
            in self._collect()
        )

    def test_k_ort(self) -> None:
        found = self._collect("-k", "ort")
        assert found
        assert all("-ort-" in item for item in found)


STEPWISE = """
from helper import SCALE

latency = Case(models=(TINY,), backends=("tiny", "wrong"))
"""


def test_outcomes_of_other_sources_are_not_taken_over_after_stepwise(
    repository: Repository,
) -> None:
    repository.write("bench_tiny.py", STEPWISE)
    helper = repository.folder / "helper.py"
    helper.write_text("SCALE = 1\n")
    first = repository.pytest("bench_tiny.py", "--sw", plugin="cacheprovider")
    assert "1 failed, 1 passed" in first.text, first.text
    helper.write_text("SCALE = 2\n")
    again = repository.pytest("bench_tiny.py")
    assert "the sources changed since run" in again.text, again.text
    assert "resumed" not in again.text
    assert repository.processes().count("tiny-tiny-fp32-cpu-b1") == 2
    assert len(list((repository.folder / "results").glob("*.jsonl"))) == 2


@pytest.mark.parametrize("workers", ["0", "2"])
def test_benchmark_disable_measures_nothing(repository: Repository, workers: str) -> None:
    repository.write("bench_tiny.py", TWO)
    ran = repository.pytest("bench_tiny.py", "--benchmark-disable", "-rs", "-n", workers)
    assert ran.code == 0, ran.text
    assert "2 skipped" in ran.text
    assert "not measured because of --benchmark-disable" in ran.text
    assert repository.processes() == []


def test_an_unrelated_script_is_not_imported(repository: Repository) -> None:
    script = repository.folder / "bench_sums.py"
    script.write_text('"""A test harness. Case 1: add."""\nopen("ran", "w").write("yes")\n')
    repository.pytest("--collect-only")
    assert not (repository.folder / "ran").exists()


@pytest.mark.parametrize("files", [("notes.txt",), ("__init__.py", "core.py")])
def test_a_project_with_its_own_harness_is_left_alone(
    repository: Repository, files: tuple[str, ...]
) -> None:
    (repository.folder / "harness").mkdir()
    for name in files:
        (repository.folder / "harness" / name).write_text("")
    test = "def test_own():\n" + ("    import harness.core\n" if len(files) > 1 else "    pass\n")
    (repository.folder / "test_own.py").write_text(test)
    switches = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "evenbench_pytest", "test_own.py"],
        cwd=repository.folder,
        env=variables(repository.folder) | switches,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert ("evenbench: off" in done.stdout) == (len(files) > 1)


def test_the_entry_point_has_every_hook_of_the_plugin() -> None:
    import evenbench_pytest

    from evenbench.harness import plugin

    hooks = {name for name in vars(plugin) if name.startswith("pytest_")}
    assert hooks == set(evenbench_pytest.__all__)


def test_a_package_that_hides_ours_is_named_at_the_declaration(repository: Repository) -> None:
    (repository.folder / "backends").mkdir()
    (repository.folder / "backends" / "__init__.py").write_text("")
    repository.write("bench_tiny.py", ONE)
    ran = repository.pytest("bench_tiny.py")
    assert ran.code == 2
    assert "hides evenbench's own package 'backends'" in ran.text
    assert "AttributeError" not in ran.text


IN_TMP = """
import pytest


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
"""

LATE = """
from dataclasses import replace

LATE = replace(TINY, inputs_from="network.py:samples")
latency = Case(models=(LATE,), backends=("tiny",))
"""


def test_the_working_folder_of_a_fixture_and_of_the_shell_do_not_matter(
    repository: Repository,
) -> None:
    repository.write("suite/bench_tiny.py", LATE)
    (repository.folder / "suite" / "network.py").write_text("from tiny import samples\n")
    (repository.folder / "conftest.py").write_text(IN_TMP)
    ran = repository.pytest("suite/bench_tiny.py")
    assert "1 passed" in ran.text, ran.text
    assert list((repository.folder / "results").glob("*.jsonl")), "results lie elsewhere"
    beside = replace(repository, folder=repository.folder / "suite")
    again = beside.pytest("bench_tiny.py", "--rootdir", "..")
    assert "1 passed" in again.text, again.text
