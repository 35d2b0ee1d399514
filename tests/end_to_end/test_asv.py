"""airspeed velocity runs cases over a range of commits, and its own statistics see one value per
process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cached_property
from pathlib import Path

import pytest
from asv.util import load_json
from conftest import HERE, REPOSITORY, Ran, variables

from evenbench.harness import Case, asv_bridge
from evenbench.harness.collection import discovery, matrix
from evenbench.harness.commands import report
from evenbench.harness.core import registry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.environment import cpu

LIGHT = ("pip+asv_runner", "numpy", "pillow", "platformdirs", "psutil", "scipy")
"""What the tiny backend needs of the matrix of asv.conf.json."""

DECLARATIONS = """
from backends.tiny import TINY
from harness import Case

latency = Case(models=(TINY,), backends=("tiny", "absent"), options={"tiny": ({}, {"sleep": 1})})
broken = Case(models=(TINY,), backends=("wrong",))
floor = Case(models=(TINY,), backends=("null",))
"""

SLOWER = {
    "        self.y = ": "        __import__('time').sleep(0.002)\n        self.y = ",
    "        np.save(\n": (
        "        np.save(folder / 'padding.npy', np.zeros(9999))\n        np.save(\n"
    ),
    '    name = "tiny"\n': (
        '    name = "tiny"\n    artifact_key = lambda self, cell: {"slow": cell.option}\n'
    ),
}
"""What the last commit changes in the backend: every step sleeps, and the artifact is larger."""

METRICS = (
    "latency_compute",
    "latency_host_to_host",
    "peak_memory",
    "parity_error",
    "artifact_size",
)


def configuration() -> dict:
    return load_json(str(REPOSITORY / "asv.conf.json"), js_comments=True)


class History:
    """A clone of this project in miniature: real sources, real asv.conf.json, light requirements,
    three commits.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self.home = folder
        for name in ("aliases", "evenbench"):
            shutil.copytree(
                REPOSITORY / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
            shutil.copy(REPOSITORY / name, self.folder / name)
        self._write_declarations()
        self._write_configuration()
        (self.folder / ".gitignore").write_text(".asv/\n")
        self.git("init", "-q", "-b", "main")
        self.commits = [self._commit("first"), self._commit("fast"), self._commit("slow")]

    def _write_declarations(self) -> None:
        (self.folder / "benchmarks").mkdir()
        (self.folder / "benchmarks" / "__init__.py").write_text("")
        shutil.copy(REPOSITORY / "benchmarks" / "asv_suite.py", self.folder / "benchmarks")
        (self.folder / "benchmarks" / "bench_tiny.py").write_text(DECLARATIONS)

    def _write_configuration(self) -> None:
        whole = configuration()
        whole["matrix"]["req"] = {name: whole["matrix"]["req"][name] for name in LIGHT}
        (self.folder / "asv.conf.json").write_text(json.dumps(whole))

    def _commit(self, name: str) -> str:
        """A commit that changes the backend."""
        text = (
            (HERE / "tiny.py")
            .read_text()
            .replace('"tiny:', '"evenbench.backends.tiny:')
            .replace("=tiny:", "=evenbench.backends.tiny:")
        )
        text = text.replace(
            '    dtype = "float32"',
            '    dtype = "float32"\n    options = {"sleep": "does nothing"}',
        )
        if name == "slow":
            for before, after in SLOWER.items():
                assert before in text
                text = text.replace(before, after, 1)
        (self.folder / "evenbench" / "backends" / "tiny.py").write_text(f"{text}\n# {name}\n")
        self.git("add", "-A")
        self.git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", name)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        ).stdout

    @cached_property
    def variables(self) -> dict[str, str]:
        """asv keeps the machine's description in the home folder; pip's own settings stay those of
        the user.
        """
        home = Path.home()
        pip = {
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_CACHE_HOME": str(home / ".cache"),
        } | dict(os.environ)
        kept = {name: pip[name] for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
        own = variables(self.home) | kept | {"HOME": str(self.home), "EVENBENCH_ASV_PLAN": "quick"}
        own["EVENBENCH_BACKENDS"] = own["EVENBENCH_BACKENDS"].replace(
            "=tiny:", "=evenbench.backends.tiny:"
        )
        own["EVENBENCH_ASV_RESULTS"] = str(self.home / "kept")
        own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
        return {name: value for name, value in own.items() if name != "PYTHONPATH"}

    def asv(self, *arguments: str, **more: str) -> Ran:
        command = [sys.executable, "-m", "asv", *arguments]
        environment = self.variables | more
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        return Ran(done.returncode, done.stdout + done.stderr)

    def stored(self, commit: str, environment: str = "virtualenv") -> dict[str, dict]:
        """The result rows of a commit by benchmark, each with its columns by name."""
        (file,) = (self.folder / ".asv" / "results").glob(f"*/{commit[:8]}-{environment}*.json")
        whole = json.loads(file.read_text())
        return {
            name: dict(zip(whole["result_columns"], row, strict=False))
            for name, row in whole["results"].items()
        }

    def packages(self) -> Path:
        """The site-packages of the one environment that asv built."""
        (found,) = (self.folder / ".asv" / "env").glob("*/lib/python*/site-packages")
        return found

    def processes(self) -> Counter[str]:
        return Counter((self.home / "processes.log").read_text().split())


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    made = History(tmp_path_factory.mktemp("history"))
    assert made.asv("machine", "--yes", "--machine", "here").code == 0
    return made


@pytest.fixture(scope="module")
def ran(history: History) -> Ran:
    """`asv run` over a range of two commits. It exits with 2: one case is broken on purpose."""
    ran = history.asv(
        "run", "--machine", "here", "--record-samples", "--show-stderr", "main~2..main"
    )
    assert ran.code == 2, ran.text
    return ran


@pytest.mark.nightly
@pytest.mark.slow
class TestRange:
    def test_the_environment_is_built_once_and_only_the_project_per_commit(
        self, history: History, ran: Ran
    ) -> None:
        # asv does not say what it installs while it creates the environment; the other commit is
        # installed in plain sight.
        assert any(f"Installing {commit[:8]}" in ran.text for commit in history.commits[1:])
        packages = history.packages()
        installed = {
            name: (packages / f"{name}/__init__.py").stat().st_ctime
            for name in ("numpy", "PIL", "platformdirs")
        }
        first = min(file.stat().st_mtime for file in (history.home / "kept").rglob("*.jsonl"))
        assert max(installed.values()) < first
        assert (packages / "evenbench/harness/__init__.py").stat().st_ctime > first

    @pytest.mark.parametrize("metric", ["latency_compute", "latency_host_to_host", "peak_memory"])
    def test_samples_are_one_value_per_process_and_eight(
        self, history: History, ran: Ran, metric: str
    ) -> None:
        row = history.stored(history.commits[1])[f"asv_suite.tiny_latency.track_{metric}"]
        samples = row["samples"][0]
        assert len(samples) == 8
        assert row["result"][0] == pytest.approx(
            sorted(samples)[3] / 2 + sorted(samples)[4] / 2, rel=1e-4
        )
        assert row["stats_ci_99_a"][0] is not None
        assert row["stats_ci_99_b"][0] is not None

    def test_samples_equal_the_recorded_laps(self, history: History, ran: Ran) -> None:
        lines = [
            json.loads(line)
            for file in (history.home / "kept").rglob("*.jsonl")
            for line in file.read_text().splitlines()
        ]
        medians = [
            [sorted(laps) for laps in line["samples_ns"]["compute"]]
            for line in lines
            if line["outcome"] == "ok"
        ]
        known = [
            [(laps[(len(laps) - 1) // 2] + laps[len(laps) // 2]) / 2e9 for laps in processes]
            for processes in medians
        ]
        assert (
            history.stored(history.commits[1])["asv_suite.tiny_latency.track_latency_compute"][
                "samples"
            ][0]
            in known
        )

    def test_one_measurement_serves_all_metrics(self, history: History, ran: Ran) -> None:
        processes = history.processes()
        assert processes["tiny-tiny-fp32-cpu-b1"] == 2 * 8
        assert processes["tiny-tiny-fp32-cpu-b1-sleep=1"] == 2 * 8
        lines = [
            line
            for file in (history.home / "kept").rglob("*.jsonl")
            for line in file.read_text().splitlines()
        ]
        assert Counter(json.loads(line)["cell"]["id"] for line in lines) == {
            "tiny-tiny-fp32-cpu-b1": 2,
            "tiny-tiny-fp32-cpu-b1-sleep=1": 2,
            "tiny-absent-fp32-cpu-b1": 2,
            "tiny-wrong-fp32-cpu-b1": 2,
            "tiny-null-fp32-cpu-b1": 2,
        }

    def test_every_metric_has_a_value(self, history: History, ran: Ran) -> None:
        rows = history.stored(history.commits[1])
        values = {
            metric: rows[f"asv_suite.tiny_latency.track_{metric}"]["result"][0]
            for metric in METRICS
        }
        assert all(value > 0 for value in values.values()), values
        assert values["latency_compute"] < 1e-3
        assert values["parity_error"] <= 1
        assert values["peak_memory"] > 1e6
        assert (
            history.stored(history.commits[2])["asv_suite.tiny_latency.track_latency_compute"][
                "result"
            ][0]
            > 2e-3
        )

    def test_params_are_the_axes(self, history: History, ran: Ran) -> None:
        row = history.stored(history.commits[1])["asv_suite.tiny_latency.track_parity_error"]
        axes = [
            ["'tiny'"],
            ["'tiny'", "'absent'"],
            ["'fp32'"],
            ["'cpu'"],
            ["'1'"],
            ["'all'"],
            ["'none'", "'sleep=1'"],
        ]
        assert row["params"] == axes
        assert row["version"] == asv_bridge.VERSION

    def test_what_cannot_run_is_not_available(self, history: History, ran: Ran) -> None:
        """Squares: tiny, tiny with an option, absent, and absent with an option, which is not in
        the matrix.
        """
        found = history.stored(history.commits[1])["asv_suite.tiny_latency.track_artifact_size"][
            "result"
        ]
        assert [value is not None and value == value for value in found[:2]] == [True, True]
        assert all(value is not None and value != value for value in found[2:])
        assert "n/a" in ran.text

    def test_a_control_has_no_parity_error(self, history: History, ran: Ran) -> None:
        rows = history.stored(history.commits[1])
        (error,) = rows["asv_suite.tiny_floor.track_parity_error"]["result"]
        assert error is not None
        assert error != error
        assert rows["asv_suite.tiny_floor.track_latency_compute"]["result"][0] > 0

    def test_a_mismatch_failed_with_the_reason(self, history: History, ran: Ran) -> None:
        for metric in METRICS:
            assert not any(
                history.stored(history.commits[1])[f"asv_suite.tiny_broken.track_{metric}"][
                    "result"
                ]
                or []
            )
        assert "failed" in ran.text
        assert "mismatch in parity: y needs" in ran.text


@pytest.mark.nightly
@pytest.mark.slow
class TestReading:
    def test_compare_sees_what_became_slower_and_larger(self, history: History, ran: Ran) -> None:
        found = history.asv("compare", "--machine", "here", *history.commits[1:])
        assert found.code == 0
        worse = [line for line in found.text.splitlines() if re.match(r"\|\s*\+", line)]
        assert any("tiny_latency.track_latency_compute" in line for line in worse), found.text
        assert any("tiny_latency.track_artifact_size" in line for line in worse), found.text

    def test_show(self, history: History, ran: Ran) -> None:
        found = history.asv("show", "--machine", "here", "--details", history.commits[1])
        assert found.code == 0
        assert "asv_suite.tiny_latency.track_peak_memory" in found.text
        assert re.search(r"tiny\s+.*fp32", found.text)

    def test_publish(self, history: History, ran: Ran) -> None:
        found = history.asv("publish")
        assert found.code == 0, found.text
        index = json.loads((history.folder / ".asv" / "html" / "index.json").read_text())
        assert (
            index["benchmarks"]["asv_suite.tiny_latency.track_latency_compute"]["unit"] == "seconds"
        )
        assert (
            index["benchmarks"]["asv_suite.tiny_latency.track_latency_compute"]["pretty_name"]
            == "tiny_latency latency compute"
        )
        assert set(history.commits[1:]) <= set(index["revision_to_hash"].values())
        assert list(
            (history.folder / ".asv" / "html" / "graphs").rglob(
                "asv_suite.tiny_latency.track_latency_compute.json"
            )
        )
        assert index["project_url"] == "#"
        report.link_back(history.folder / ".asv" / "html", history.folder / "site")
        index["project_url"] = "../../site/index.html"
        assert json.loads((history.folder / ".asv" / "html" / "index.json").read_text()) == index

    def test_what_is_kept_is_a_history_of_its_commits(self, history: History, ran: Ran) -> None:
        """The workflow `main` shows and `scheduled` bisects what asv left in this folder: asv goes
        backwards through a range.
        """
        words = [
            "history",
            str(history.home / "kept"),
            "-o",
            str(history.home / "site"),
            "--json",
            "-k",
            "tiny-tiny and not sleep",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "evenbench", *words],
            cwd=history.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        (cell,) = json.loads(done.stdout)["cells"]
        assert list(dict.fromkeys(point[1] for point in cell["points"])) == history.commits[1:]

    def test_a_second_run_measures_anew_in_the_same_environment(
        self, history: History, ran: Ran
    ) -> None:
        before = (
            history.processes()["tiny-null-fp32-cpu-b1"],
            history.processes()["tiny-tiny-fp32-cpu-b1"],
        )
        built = (history.packages() / "numpy/__init__.py").stat().st_ctime
        again = history.asv(
            "run", "--machine", "here", "--bench", "tiny_latency.track_artifact_size", "main^!"
        )
        assert again.code == 0, again.text
        assert (history.packages() / "numpy/__init__.py").stat().st_ctime == built
        assert history.processes()["tiny-tiny-fp32-cpu-b1"] - before[1] == 8
        assert history.processes()["tiny-null-fp32-cpu-b1"] == before[0]


@pytest.mark.slow
def test_an_existing_environment_needs_no_build(history: History) -> None:
    commit = history.commits[2]
    # The interpreter that is first on PATH has evenbench installed, but not this history's backend.
    path = f"{history.folder}"
    ran = history.asv(
        "run",
        "--environment",
        "existing:python",
        "--set-commit-hash",
        commit,
        "--machine",
        "here",
        "--record-samples",
        "--bench",
        "tiny_latency",
        ASV_PYTHONPATH=path,
    )
    assert ran.code == 0, ran.text
    assert "Creating environments" not in ran.text
    assert "Installing" not in ran.text
    row = history.stored(commit, "existing")["asv_suite.tiny_latency.track_latency_compute"]
    assert len(row["samples"][0]) == 8


class TestConfiguration:
    def test_pins_equal_the_constraints(self) -> None:
        lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
        known = dict(line.split("==") for line in lines if "==" in line)
        pins = {name.lower().replace("-", "_"): version for name, version in known.items()}
        for name, versions in configuration()["matrix"]["req"].items():
            assert versions == [pins[name.removeprefix("pip+").lower().replace("-", "_")]], name

    def test_the_matrix_holds_every_dependency_that_a_declared_backend_or_the_harness_needs(
        self,
    ) -> None:
        import tomllib

        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        extras = project["optional-dependencies"]
        cells = [
            cell
            for declared in discovery.find([str(REPOSITORY / "benchmarks")])
            for cell in matrix.expand(declared.case)
        ]
        assert {cell.precision for cell in cells} == {
            "fp32"
        }  # others need more than a runtime's own extra
        named = {
            name
            for cell in cells
            for name in re.findall(r"evenbench\[([\w,-]+)\]", registry.row(cell.backend).hint)
        }
        assert named >= {"torch", "ort", "openvino"}
        asked = {"photographs"} | {name for each in named for name in each.split(",")}
        for _ in extras:  # what an extra asks for in turn
            asked |= {
                name
                for extra in asked
                for entry in extras[extra]
                for name in re.findall(r"evenbench\[([\w-]+)\]", entry)
            }
        wanted = [*project["dependencies"], *(entry for name in asked for entry in extras[name])]
        names = {re.split(r"[\[<>=]", entry)[0].lower() for entry in wanted} - {"evenbench"}
        assert names <= {name.lower() for name in configuration()["matrix"]["req"]}

    def test_only_the_project_is_installed_per_commit(self) -> None:
        whole = configuration()
        assert all(
            "--no-deps" in command for command in whole["build_command"] + whole["install_command"]
        )
        assert "--force-reinstall" in whole["install_command"][0]

    def test_discovery_finds_every_case_of_this_repository_and_imports_no_runtime(self) -> None:
        code = (
            "import sys; from asv_runner._aux import update_sys_path; "
            "from asv_runner.discovery import disc_benchmarks\n"
            "before = set(sys.modules)\n"
            "update_sys_path('benchmarks'); found = list(disc_benchmarks('benchmarks'))\n"
            "print(*[each.name for each in found])\n"
            "print(*[name for name in ('torch', 'onnxruntime', 'openvino', 'onnx') "
            "if name in set(sys.modules) - before])\n"
            "assert all(each.check('benchmarks') for each in found)\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        names, imported = ran.stdout.split("\n")[:2]
        assert {f"asv_suite.classification_latency.track_{metric}" for metric in METRICS} <= set(
            names.split()
        )
        assert not imported


class TestBridge:
    @pytest.mark.parametrize(
        ("name", "processes"), [("quick", 8), ("default", 8), ("thorough", 10)]
    )
    def test_the_plan_has_eight_processes_or_more(
        self, monkeypatch: pytest.MonkeyPatch, name: str, processes: int
    ) -> None:
        monkeypatch.setenv(asv_bridge.PLAN, name)
        found = asv_bridge.plan()
        assert found.processes == processes
        assert found.min_samples == PLANS[name].min_samples

    def test_an_unknown_plan_is_a_usage_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(asv_bridge.PLAN, "swift")
        with pytest.raises(UsageError, match="'swift' is no plan; expected one of quick"):
            asv_bridge.plan()

    def test_classes_are_named_as_their_module_publishes_them(self) -> None:
        found = asv_bridge.suites(REPOSITORY / "benchmarks", "benchmarks.asv_suite")
        assert found
        for name, made in found.items():
            assert (made.__name__, made.__qualname__, made.__module__) == (
                name,
                name,
                "benchmarks.asv_suite",
            )
            for metric in METRICS:
                method = getattr(made, f"track_{metric}")
                assert method.__name__ == f"track_{metric}"
                assert method.pretty_name.startswith(name)

    def test_threads_are_named_as_declared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import tiny

        monkeypatch.setattr(cpu, "cores", lambda: 2)
        case = Case(models=(tiny.TINY,), backends=("null",), threads=(0, 1))
        assert [asv_bridge.square(cell, case)[5] for cell in matrix.expand(case)] == ["all", "1"]

    def test_an_environment_is_part_of_the_param(self) -> None:
        import tiny

        case = Case(models=(tiny.TINY,), backends=("null", "null@1.24.1"))
        assert [asv_bridge.square(cell, case)[1] for cell in matrix.expand(case)] == [
            "null",
            "null@1.24.1",
        ]
