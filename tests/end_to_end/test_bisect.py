"""`evenbench bisect` on a real repository: the commit is found, commits that cannot be judged are
named, and nothing is guessed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import work
from conftest import HERE, Ran, variables
from test_compare import BENCH, git

from evenbench.harness.commands import bisect
from evenbench.harness.comparison import git as commits
from evenbench.harness.core import exit_codes
from evenbench.harness.core.errors import UsageError

Command = Callable[..., Ran]
CELL = "work-work-fp32-cpu-b1-t1"

EDITS: dict[str, dict[str, str]] = {
    "v1": {},
    "words": {"A runtime whose": "This is a runtime whose"},
    "side": {"A runtime whose": "Yet a runtime whose"},
    "broken": {"class Work(Backend):": "class Work(Backend:"},
    "renamed": {'    "work",\n    "work:build"': '    "other",\n    "work:build"'},
    "larger": {"PADDING = 0": "PADDING = 8192"},
    "tidy": {"PADDING = 0": "PADDING = 8192", "A runtime whose": "One runtime whose"},
    "slow": {"PADDING = 0": "PADDING = 8192", "REPEATS = 100": "REPEATS = 140"},
    "last": {
        "PADDING = 0": "PADDING = 8192",
        "REPEATS = 100": "REPEATS = 140",
        "A runtime whose": "The runtime whose",
    },
}
"""What each commit changes in `work.py`. `side` lies on a branch that is merged after it."""


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v1, words, a merge of `side`, broken, renamed, larger, tidy, slow, last; each a tag."""
    folder = tmp_path_factory.mktemp("history")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "bench_work.py").write_text(BENCH)
    git(folder, "init", "-q", "-b", "main")
    for name, changes in EDITS.items():
        source = (HERE / "work.py").read_text()
        for old, new in changes.items():
            assert old in source
            source = source.replace(old, new)
        (folder / "work.py").write_text(source)
        if name == "side":
            git(folder, "checkout", "-q", "-b", "branch")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", name)
        git(folder, "tag", name)
        if name == "side":
            git(folder, "checkout", "-q", "main")
            git(folder, "merge", "-q", "--no-ff", "-m", "a merge", "branch")
            git(folder, "tag", "merge")
    return folder


@pytest.fixture
def evenbench(history: Path, tmp_path: Path) -> Command:
    def run(*words: str, where: Path = history, results: str = "--results") -> Ran:
        environment = {
            **variables(tmp_path),
            "EVENBENCH_BACKENDS": work.BACKENDS,
            "PYTHONPATH": str(HERE.parent.parent),
        }
        command = [
            sys.executable,
            "-m",
            "evenbench.harness.cli",
            *words,
            *filter(None, [results]),
            str(tmp_path / "results"),
        ]
        done = subprocess.run(
            command,
            cwd=where,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        return Ran(done.returncode, done.stdout + done.stderr)

    return run


def told(folder: Path) -> dict[str, Any]:
    (file,) = (folder / "results").glob("bisect-*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.slow
@pytest.mark.alone
def test_a_slowdown_is_found_and_every_step_is_recorded(
    evenbench: Command, history: Path, tmp_path: Path
) -> None:
    ran = evenbench(
        "bisect",
        "larger",
        "slow",
        "--plan",
        "quick",
        "--margin",
        "0.1",
        "--pairs",
        "8",
        "--most",
        "32",
    )
    assert ran.code == bisect.FOUND, ran.text
    found = told(tmp_path)
    assert found["first"]["sha"] == git(history, "rev-parse", "slow")
    assert (
        f"{found['first']['sha'][:8]} slow is the first commit at which the latency of {CELL} "
        "is worse: latency +"
    ) in ran.text
    answers = {step["commit"]["subject"]: step["answer"] for step in found["steps"]}
    assert answers == {"slow": "worse", "tidy": "not worse"}
    comparisons = [
        json.loads(Path(file).read_text()) for step in found["steps"] for file in step["files"]
    ]
    assert {comparison["base"] for comparison in comparisons} == {
        git(history, "rev-parse", "larger")[:8]
    }
    assert all(cell["pairs"] for comparison in comparisons for cell in comparison["cells"])
    assert any(cell["control"] for comparison in comparisons for cell in comparison["cells"])


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.alone
def test_what_cannot_be_built_or_declares_no_such_cell_is_skipped_and_named(
    evenbench: Command, history: Path, tmp_path: Path
) -> None:
    ran = evenbench("bisect", "v1", "last", "--metric", "artifact", "--plan", "quick", "--json")
    assert ran.code == bisect.OPEN, ran.text
    found = told(tmp_path)
    assert [commit["subject"] for commit in found["suspects"]] == ["broken", "renamed", "larger"]
    assert found["first"] is None
    answers = {
        step["commit"]["subject"]: (step["answer"], step["words"]) for step in found["steps"]
    }
    assert answers["broken"][0] == "skipped"
    assert "SyntaxError" in answers["broken"][1]
    assert answers["renamed"] == ("skipped", f"does not declare {CELL}")
    assert answers["larger"][0] == answers["last"][0] == "worse"
    assert answers["a merge"][0] == "not worse"
    assert "side" not in answers  # the merge is one change
    assert "one of 3 commits made the artifact" in ran.text
    assert git(history, "worktree", "list").count("\n") == 0


@pytest.mark.slow
@pytest.mark.alone
def test_without_a_step_between_the_ends_nothing_is_searched(
    evenbench: Command, tmp_path: Path
) -> None:
    ran = evenbench("bisect", "v1", "merge", "--metric", "artifact", "--plan", "quick")
    assert ran.code == bisect.OPEN, ran.text
    assert f"does not show the step: {CELL} is not worse: artifact from " in ran.text
    assert len(told(tmp_path)["steps"]) == 1


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.alone  # on one core the cell has another name
def test_a_step_in_the_history_is_measured_again_and_bisected(
    evenbench: Command, history: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(history), str(clone))
    for tag in ("v1", "words", "merge", "larger", "tidy", "slow", "last"):
        git(clone, "checkout", "-q", tag)
        ran = evenbench("run", "benchmarks/bench_work.py", "--plan", "quick", where=clone)
        assert ran.code == exit_codes.PASS, ran.text
    git(clone, "checkout", "-q", "main")
    ran = evenbench("history", "--confirm", "-o", str(tmp_path / "site"), where=clone, results="")
    assert ran.code == exit_codes.WORSE, ran.text
    tags = {name: git(history, "rev-parse", name) for name in ("merge", "larger")}
    assert (
        f"evenbench bisect {tags['merge']} {tags['larger']} --cell {CELL} --metric artifact"
        in ran.text
    )
    assert [commit["subject"] for commit in told(tmp_path)["suspects"]] == [
        "broken",
        "renamed",
        "larger",
    ]
    words = "one of 3 commits made the artifact"
    assert words in ran.text
    assert words in (tmp_path / "site" / "history.html").read_text()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("slow", "v1"), 4, "slow is no ancestor of v1"),
        (("v1", "v1"), 4, "v1 and v1 are the same commit"),
        (("v1", "nowhere"), 4, "nowhere is no commit here"),
        (("v1", "last", "--most", "8"), 4, "--most 8 is less than --pairs 30"),
        (("v1", "last", "--pairs", "7"), 4, "7 pairs can never alarm"),
        (("v1", "last", "--budget", "soon"), 4, "--budget 'soon' is not a duration"),
        (("v1", "renamed"), 5, "share no cell; only in"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_words(
    evenbench: Command, words: tuple[str, ...], code: int, message: str
) -> None:
    ran = evenbench("bisect", *words)
    assert ran.code == code, ran.text
    assert message in ran.text
    assert "Traceback" not in ran.text


def test_a_shallow_clone_is_named(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "clone", "-q", "--depth", "2", history.as_uri(), "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(UsageError, match="the clone is shallow"):
        commits.first_parent_line(git(history, "rev-parse", "v1"), "HEAD")


def test_merges_are_one_commit_and_a_good_one_from_a_side_branch_is_followed(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(history)
    good, found = commits.first_parent_line("v1", "broken")
    assert good.subject == "v1"
    assert [(commit.subject, commit.parents) for commit in found] == [
        ("words", 1),
        ("a merge", 2),
        ("broken", 1),
    ]
    assert [commit.subject for commit in commits.first_parent_line("side", "broken")[1]] == [
        "a merge",
        "broken",
    ]
