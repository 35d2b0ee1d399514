"""A comparison measures the code it names: wherever a change lies, however the project is
installed, and whatever folder the command runs in.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import mynet_runtime
import planted
import pytest
from conftest import HERE, REPOSITORY, variables
from test_compare import git

from evenbench.harness.commands import bisect
from evenbench.harness.core import exit_codes

PREPARE = """
import json, sys
from evenbench.harness.comparison import git
from evenbench.harness.comparison.session import PairedSession
from evenbench.harness.core.plans import PLANS
from evenbench.harness.environment import cpu
target, *commits = sys.argv[1:]
values = {}
for name in commits:
    with git.side_of(name) as side:
        session = PairedSession(side, side, [target], {}, plan=PLANS["quick"])
        threads = "" if cpu.cores() == 1 else "-t1"  # only the unusual number is in an id
        values[name] = session.prepare(side, f"net-matrices-fp32-cpu-b1{threads}")
print(json.dumps(values))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.repository(tmp_path_factory.mktemp("project").resolve())


def bisected(
    python: Path, project: Path, where: str, tmp_path: Path, change: str, *flags: str
) -> dict[str, Any]:
    """The written search for the commit `change` in the two commits after `base`."""
    target = "benchmarks" if where == "." else "."
    words = ("bisect", "base", change, target, "--plan", "quick", *flags)
    results = tmp_path / "results"
    end = ("--results", str(results))
    done = planted.run(python, project, where, tmp_path, "-m", "evenbench", *words, *end)
    assert done.returncode == bisect.FOUND, done.stdout + done.stderr
    (file,) = results.glob("bisect-*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def compared(
    python: Path, project: Path, where: str, tmp_path: Path, head: str
) -> tuple[int, dict[str, Any]]:
    """The exit code and the cell of a comparison of `base` with `head`."""
    target = "benchmarks" if where == "." else "."
    words = ("compare", "base", head, target, "--plan", "quick", "--pairs", "8")
    results = tmp_path / "results"
    end = ("--results", str(results))
    done = planted.run(python, project, where, tmp_path, "-m", "evenbench", *words, *end)
    (file,) = results.glob("compare-*.json")
    (cell,) = (each for each in json.loads(file.read_text())["cells"] if not each["control"])
    return done.returncode, cell


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "where", "target"),
    [("plain", ".", "benchmarks"), ("editable", "benchmarks", ".")],
    ids=["installed, from the root", "editable, from a sub folder"],
)
def test_a_change_is_seen_wherever_it_lies(
    how: str, where: str, target: str, project: Path, tmp_path: Path
) -> None:
    python = planted.python_with(how, project, tmp_path / "venv")
    done = planted.run(python, project, where, tmp_path, "-c", PREPARE, target, *planted.CHANGES)
    assert done.returncode == 0, done.stderr
    sides = json.loads(done.stdout)
    base = sides["base"]
    for name in ("artifact_sha256", "input_sha256"):
        assert sides["unchanged"][name] == base[name]
    for name in planted.SLOW:
        assert sides[name]["artifact_sha256"] != base["artifact_sha256"], name
        assert sides[name]["artifact_bytes"] > 2.9 * base["artifact_bytes"], name
    for name in ("base", *planted.SLOW):  # `unchanged` has the entries of `base`: no build
        assert set(sides[name]["origins"].values()) >= planted.ORIGINS, name


@pytest.mark.slow
def test_the_commit_with_a_larger_data_file_is_found_from_a_sub_folder(
    project: Path, tmp_path: Path
) -> None:
    python = planted.python_with("plain", project, tmp_path / "venv")
    found = bisected(python, project, "benchmarks", tmp_path, "data", "--metric", "artifact")
    assert found["first"]["sha"] == git(project, "rev-parse", "data")


@pytest.mark.slow
def test_a_run_measures_the_code_of_a_commit_beside_its_own(project: Path, tmp_path: Path) -> None:
    path = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(HERE), str(project / "src")])}
    more = {"EVENBENCH_BACKENDS": mynet_runtime.BACKENDS, **path}
    words = ("run", "benchmarks", "--plan", "quick", "--against", "helper", "--json")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "evenbench.harness.cli",
            *words,
            "--results",
            str(tmp_path / "results"),
        ],
        cwd=project,
        env={**variables(tmp_path), **more},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here, there = json.loads(done.stdout)["outcomes"]
    assert there["cell"]["side"].startswith("helper:")
    assert there["against"]["key"] == here["cell"]["key"]
    assert there["against"]["origins"]["helper"] == "benchmarks/helper.py"
    assert there["artifact_sha256"] != here["artifact_sha256"], "the code here was measured"
    medians = [statistics.median(line["samples_ns"]["compute"][0]) for line in (here, there)]
    assert medians[1] > 1.5 * medians[0], "three times the layers"
    trees = subprocess.run(
        ["git", "worktree", "list"], cwd=project, capture_output=True, text=True, check=True
    )
    assert len(trees.stdout.splitlines()) == 1, "the commit is still checked out"


PLACES = pytest.mark.parametrize(
    ("how", "where"),
    [("editable", "."), ("plain", "benchmarks")],
    ids=["editable, from the root", "installed, from a sub folder"],
)


@pytest.mark.nightly
@pytest.mark.alone
@PLACES
@pytest.mark.parametrize("change", planted.SLOW)
def test_compare_finds_a_planted_slowdown(
    change: str, how: str, where: str, project: Path, tmp_path: Path
) -> None:
    python = planted.python_with(how, project, tmp_path / "venv")
    code, cell = compared(python, project, where, tmp_path, change)
    assert cell["metrics"]["latency"]["verdict"] == "slower"
    assert cell["metrics"]["artifact"]["verdict"] == "slower"
    assert code == exit_codes.WORSE


@pytest.mark.nightly
@pytest.mark.alone
@PLACES
@pytest.mark.parametrize("change", planted.SLOW)
def test_bisect_finds_a_planted_slowdown(
    change: str, how: str, where: str, project: Path, tmp_path: Path
) -> None:
    python = planted.python_with(how, project, tmp_path / "venv")
    flags = ("--margin", "0.5", "--pairs", "8", "--most", "16")
    found = bisected(python, project, where, tmp_path, change, *flags)
    assert found["first"]["sha"] == git(project, "rev-parse", change)
    answers = {step["commit"]["subject"]: step["answer"] for step in found["steps"]}
    assert answers == {change: "worse", "unchanged": "not worse"}


@pytest.mark.nightly
@pytest.mark.alone
@PLACES
def test_compare_of_an_unchanged_network_is_equivalent_by_digest_and_origin(
    how: str, where: str, project: Path, tmp_path: Path
) -> None:
    python = planted.python_with(how, project, tmp_path / "venv")
    _, cell = compared(python, project, where, tmp_path, "unchanged")
    base, other = cell["prepared"]
    assert cell["metrics"]["artifact"]["verdict"] == "equivalent"
    assert base["artifact_sha256"] == other["artifact_sha256"]
    assert set(base["origins"].values()) >= planted.ORIGINS
    origins = [end["origins"] for pair in cell["pairs"] for end in pair["ends"]]
    assert all(each == {"bench_net": "benchmarks/bench_net.py"} for each in origins)
