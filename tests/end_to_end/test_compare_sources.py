"""A comparison measures the code it names: wherever a change lies, however the project is
installed, and whatever folder the command runs in.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import mynet_runtime
import pytest
from conftest import HERE, REPOSITORY, variables
from test_compare import git

from evenbench.harness.core import exit_codes
from tests.unit.runner.test_module_origins import install

PACKAGE = "src/mynet"
FILES = {
    f"{PACKAGE}/__init__.py": "",
    f"{PACKAGE}/model.py": """
from importlib import resources
import numpy as np
from mynet import helper
TIMES = 1
def build():
    layers = int((resources.files("mynet") / "layers.txt").read_text())
    count = layers * TIMES * helper.TIMES
    return np.random.default_rng(0).standard_normal((count, 512, 512)) / 16
""",
    f"{PACKAGE}/helper.py": "TIMES = 1\n",
    f"{PACKAGE}/layers.txt": "2",
    "benchmarks/bench_net.py": """
from harness import BATCH, Case, Model, TensorSpec
SPEC = (BATCH, 512)
NET = Model("net", "mynet.model:build", (TensorSpec("x", SPEC),), (TensorSpec("y", SPEC),),
            inputs_from="harness.inputs:standard_normal", task="regression")
latency = Case((NET,), backends=("matrices",), threads=(1,))
""",
    "pyproject.toml": '[project]\nname = "mynet"\nversion = "1.0"\n',
}
CHANGES = {
    "base": ("README.md", "", "words"),
    "unchanged": ("README.md", "words", "other words"),
    "model": (f"{PACKAGE}/model.py", "TIMES = 1", "TIMES = 3"),
    "helper": (f"{PACKAGE}/helper.py", "TIMES = 1", "TIMES = 3"),
    "data": (f"{PACKAGE}/layers.txt", "2", "6"),
}
"""What each commit changes in the commit `base`: three times the layers, or nothing that counts."""

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
    folder = tmp_path_factory.mktemp("project").resolve()
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / ".gitignore").write_text("__pycache__/\n")
    (folder / "README.md").touch()
    git(folder, "init", "-q", "-b", "main")
    for commit, (name, old, new) in CHANGES.items():
        if commit != "base":
            git(folder, "checkout", "-q", "base")
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(old, new, 1) if old else new)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", commit)
        git(folder, "tag", commit)
    git(folder, "checkout", "-q", "main")
    return folder


def python_with(how: str, project: Path, folder: Path) -> Path:
    """A virtual environment with the project as `pip install .` or `pip install -e .` leaves it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "outer.pth").write_text(sysconfig.get_path("purelib"))
    if how == "editable":
        (site / "mynet.pth").write_text(str(project / "src"))
    else:
        shutil.copytree(project / PACKAGE, site / "mynet")
        install(site, project)
    return folder / "bin" / "python"


def run(python: Path, project: Path, where: str, tmp_path: Path, *words: str) -> Any:
    path = os.pathsep.join([str(REPOSITORY), str(HERE)])
    more = {"EVENBENCH_BACKENDS": mynet_runtime.BACKENDS, "PYTHONPATH": path}
    return subprocess.run(
        [str(python), *words],
        cwd=project / where,
        env={**variables(tmp_path), **more},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "where", "target"),
    [("plain", ".", "benchmarks"), ("editable", "benchmarks", ".")],
    ids=["installed, from the root", "editable, from a sub folder"],
)
def test_a_change_is_seen_wherever_it_lies(
    how: str, where: str, target: str, project: Path, tmp_path: Path
) -> None:
    python = python_with(how, project, tmp_path / "venv")
    done = run(python, project, where, tmp_path, "-c", PREPARE, target, *CHANGES)
    assert done.returncode == 0, done.stderr
    sides = json.loads(done.stdout)
    base = sides["base"]
    own = {
        "mynet": f"{PACKAGE}/__init__.py",
        "mynet.model": f"{PACKAGE}/model.py",
        "mynet.helper": f"{PACKAGE}/helper.py",
    }
    assert own.items() <= base["origins"].items()
    for name in ("artifact_sha256", "input_sha256"):
        assert sides["unchanged"][name] == base[name]
    for name in ("model", "helper", "data"):
        assert sides[name]["artifact_sha256"] != base["artifact_sha256"], name
        assert sides[name]["artifact_bytes"] > 2.9 * base["artifact_bytes"], name
        assert own.items() <= sides[name]["origins"].items()


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
    assert there["against"]["origins"]["mynet.helper"] == f"{PACKAGE}/helper.py"
    assert there["artifact_sha256"] != here["artifact_sha256"], "the code here was measured"
    medians = [statistics.median(line["samples_ns"]["compute"][0]) for line in (here, there)]
    assert medians[1] > 1.5 * medians[0], "three times the layers"
    trees = subprocess.run(
        ["git", "worktree", "list"], cwd=project, capture_output=True, text=True, check=True
    )
    assert len(trees.stdout.splitlines()) == 1, "the commit is still checked out"


@pytest.mark.nightly
@pytest.mark.alone
@pytest.mark.parametrize("head", ["helper", "unchanged"])
def test_compare_judges_the_commit_of_an_installed_project(
    head: str, project: Path, tmp_path: Path
) -> None:
    python = python_with("plain", project, tmp_path / "venv")
    words = ("compare", "base", head, ".", "--plan", "quick", "--pairs", "8")
    results = tmp_path / "results"
    flags = (*words, "--results", str(results))
    done = run(python, project, "benchmarks", tmp_path, "-m", "evenbench", *flags)
    (file,) = results.glob("compare-*.json")
    (cell,) = (each for each in json.loads(file.read_text())["cells"] if not each["control"])
    base, other = cell["prepared"]
    if head == "helper":
        assert done.returncode == exit_codes.WORSE, done.stdout
        assert cell["metrics"]["latency"]["verdict"] == "slower"
    else:
        assert cell["metrics"]["artifact"]["verdict"] == "equivalent"
        assert base["artifact_sha256"] == other["artifact_sha256"]
        ends = [end["origins"] for pair in cell["pairs"] for end in pair["ends"]]
        assert all(end == ends[0] for end in ends)
