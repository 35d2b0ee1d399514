"""The workflows are valid by their published schema and a security linter, and call nothing but
commands that exist here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.meta.scripts import ROOT, calls, unknown

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
each_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)


def steps(file: Path) -> list[dict[str, Any]]:
    """The steps of all jobs."""
    return [
        step for job in yaml.safe_load(file.read_text())["jobs"].values() for step in job["steps"]
    ]


def scripts(file: Path) -> str:
    return "\n".join(step.get("run", "") for step in steps(file))


def test_there_is_one_for_each_occasion() -> None:
    assert {file.name for file in WORKFLOWS} == {
        "ci.yml",
        "compare.yml",
        "main.yml",
        "nightly.yml",
        "scheduled.yml",
    }


@each_workflow
def test_workflows_are_valid_by_their_schema(file: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).with_name("zizmor")),
        "--offline",
        "--no-progress",
        *map(str, files),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_linter_finds_nothing() -> None:
    done = lint(*WORKFLOWS)
    assert done.returncode == 0, done.stdout


def test_the_linter_would_find_an_injection_and_an_unpinned_action(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    text = (FOLDER / "compare.yml").read_text()
    bad.write_text(
        re.sub(r"checkout@\w+", "checkout@v4", text).replace(
            "run: make install", "run: make ${{ github.head_ref }}"
        )
    )
    done = lint(bad)
    assert done.returncode != 0
    assert "unpinned-uses" in done.stdout
    assert "template-injection" in done.stdout


@each_workflow
def test_workflows_call_commands_of_this_project(file: Path) -> None:
    assert unknown(scripts(file)) == []


def test_a_command_that_is_not_there_would_be_seen() -> None:
    notify = '.venv/bin/evenbench notify x --exit "$CODE" --nothing \\\n  --title "a b"'
    lines = (notify, 'make aa AA="--minute 3" nowhere || exit', "asv prune")
    assert unknown("\n".join(lines)) == [
        "evenbench notify x --exit 1 --nothing --title 'a b'",
        "nowhere",
        "--minute",
        "asv prune",
    ]
    assert list(calls("evenbench history results > file.txt || code=$?")) == [
        ("evenbench", ["history", "results"])
    ]


@each_workflow
def test_each_job_says_what_it_may_and_how_long(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text())
    for name, job in workflow["jobs"].items():
        allowed = job.get("permissions", workflow["permissions"])
        assert job["timeout-minutes"] <= 360, name
        assert allowed.get("contents", "read") == "read", name
    assert "concurrency" in workflow


def test_a_check_that_alarms_tells_its_exit_code_to_the_issue() -> None:
    told = [
        words[1]
        for program, words in calls(scripts(FOLDER / "scheduled.yml"))
        if program == "evenbench" and words[0] == "notify"
    ]
    assert told == ["aa", "history"]
    assert scripts(FOLDER / "scheduled.yml").count('echo "code=$code" >> "$GITHUB_OUTPUT"') == len(
        told
    )


def test_a_check_that_fails_is_no_alarm_and_no_green_job() -> None:
    """Neither 0 nor 1: the issue stays as it is, and the job must not pass. make ends with 2
    whatever happened, so it is not asked.
    """
    text = scripts(FOLDER / "scheduled.yml")
    assert "make aa" not in text
    assert (
        len(re.findall(r'case "\$CODE" in 0 \| 1(?: \| 5)?\) ;; \*\) exit "\$CODE" ;; esac', text))
        == 2
    )
    (words,) = re.findall(r"tests\.performance\.bench_gate ([^>]*)", text)
    sources = ROOT / "tests" / "performance"
    known = "".join((sources / name).read_text() for name in ("bench_gate.py", "bench_record.py"))
    assert all(f'"{flag}"' in known for flag in re.findall(r"--[a-z-]+", words))


def test_the_measure_of_the_gate_tells_a_fault_from_an_alarm(tmp_path: Path) -> None:
    torn = tmp_path / "gate.jsonl"
    torn.write_text('{"workload": "GEMM 128')
    command = [
        sys.executable,
        "-m",
        "tests.performance.bench_gate",
        "--record",
        str(torn),
        "--minutes",
        "0",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    torn.write_text("")
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
