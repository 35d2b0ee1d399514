"""The files of `evenbench new project` work in a repository that is not evenbench's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from asv.util import load_json
from conftest import REPOSITORY

from evenbench.harness.commands import new


def ran(folder: Path, *words: str, **variables: str) -> str:
    """The output of a command in the repository, which must succeed."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "EVENBENCH_CACHE": str(folder.parent / "cache"),
        **variables,
    }
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.email=a@b.c", "-c", "user.name=tester")
    return ran(folder, "git", *identity, *words).strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a branch of its own, and the written files."""
    folder = tmp_path / "mine"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    new.write("project", "my-net", folder)
    return folder


def test_the_files_declare_a_case_for_run_pytest_and_asv(project: Path) -> None:
    here = {"PYTHONPATH": str(REPOSITORY)}
    listed = ran(project, sys.executable, "-m", "evenbench.harness.cli", "list", **here)
    assert "my-net-torch-eager-fp32-cpu-b1" in listed
    settings = load_json(str(project / "asv.conf.json"), js_comments=True)
    assert settings["branches"] == ["trunk"], "the branch of the repository"
    workflow = yaml.safe_load((project / ".github/workflows/benchmarks.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = "\n".join(step.get("run", "") for step in steps)
    assert 'evenbench compare "$(git merge-base "$BASE" HEAD)" HEAD' in commands
    assert "asv run HEAD^!" in commands


def test_asv_finds_the_suite_in_the_present_environment(project: Path) -> None:
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "benchmarks")
    checked = ran(
        project,
        *(sys.executable, "-m", "asv", "check", "--python=same"),
        ASV_PYTHONPATH=str(REPOSITORY),
        PYTHONPATH=str(REPOSITORY),
    )
    assert "No problems found" in checked


def test_a_network_of_the_repository_stays(tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text("precious")
    new.write("project", "my-net", tmp_path)
    assert (tmp_path / "my_net.py").read_text() == "precious"


INPUTS = """
import numpy as np

def inputs(model):
    {first}
    return {{"image": np.ones((3, 3, 32, 32), np.float32)}}
"""


@pytest.mark.nightly
def test_asv_measures_the_code_of_each_commit(project: Path) -> None:
    """The second commit's inputs fail, so its values are missing, and the first commit's are there.

    The null runtime keeps the environment small.
    """
    case = project / "benchmarks" / "bench_my_net.py"
    case.write_text(
        case.read_text()
        .replace('("torch-eager", "ort")', '("null",)')
        .replace("evenbench.harness.inputs:standard_normal", "my_net:inputs")
    )
    settings = load_json(str(project / "asv.conf.json"), js_comments=True)
    needed = settings["matrix"]["req"]
    settings["matrix"]["req"] = {"pip+evenbench": needed["pip+evenbench"]}
    (project / "asv.conf.json").write_text(json.dumps(settings))
    commits = []
    for first in ("pass", "raise OSError('of the second commit')"):
        (project / "my_net.py").write_text(INPUTS.format(first=first))
        git(project, "add", "-A")
        git(project, "commit", "-q", "-m", first)
        commits.append(git(project, "rev-parse", "HEAD"))
    (project / "my_net.py").write_text("raise SystemError('the working tree is not measured')")
    wheels = project.parent / "wheels"
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    ran(project, *pip, "-w", str(wheels), str(REPOSITORY))
    ran(project, sys.executable, "-m", "asv", "machine", "--yes", "--machine", "here")
    environment = {"EVENBENCH_ASV_PLAN": "quick", "PIP_FIND_LINKS": str(wheels)}
    words = (sys.executable, "-m", "asv", "run", "--machine", "here", "--bench", "latency_compute")
    ran(project, *words, f"{commits[0]}^!", **environment)
    subprocess.run(
        [*words, f"{commits[1]}^!"],
        cwd=project,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    stored = {
        json.loads(file.read_text())["commit_hash"]: json.loads(file.read_text())["results"]
        for file in (project / ".asv" / "results" / "here").glob("*-virtualenv*.json")
    }
    values = {
        commit: next(row[0] for name, row in stored[commit].items() if "latency_compute" in name)
        for commit in commits
    }
    assert values[commits[0]][0] > 0
    assert values[commits[1]] in (None, [None], [float("nan")]) or values[commits[1]][0] is None
