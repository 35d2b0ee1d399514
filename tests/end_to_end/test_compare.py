"""`evenbench compare` on a real repository: each kind of worsening is found in its commit, and a
change of words is not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE, Ran, variables

from evenbench.harness.comparison import exit_status, sides
from evenbench.harness.core import exit_codes
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.statistics import paired_test, ratios

pytestmark = [pytest.mark.slow, pytest.mark.alone]
BENCH = """\
from harness import Case
from work import MODEL

latency = Case((MODEL,), backends=('work',), threads=(1,))
"""
Command = Callable[..., Ran]


def git(folder: Path, *words: str) -> str:
    name = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", *name, *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real repository, each commit on top of the one before: base, slow (its preprocessing),
    loose, large, and words.
    """
    folder = tmp_path_factory.mktemp("repository")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "bench_work.py").write_text(BENCH)
    shutil.copy(HERE / "work.py", folder / "work.py")
    git(folder, "init", "-q", "-b", "main")
    edits = {
        "base": {},
        "slow": {"REPEATS = 100": "REPEATS = 110"},
        "loose": {"NOISE = 1e-7": "NOISE = 3e-5"},
        "large": {"PADDING = 0": "PADDING = 8192"},
        "words": {},
    }
    source = (HERE / "work.py").read_text()
    for name, changes in edits.items():
        for old, new in changes.items():
            assert old in source
            source = source.replace(old, new)
        (folder / "work.py").write_text(source)
        (folder / "README.md").write_text(f"What {name} says of itself.\n")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "--allow-empty", "-m", name)
        git(folder, "tag", name)
    return folder


@pytest.fixture
def evenbench(repository: Path, tmp_path: Path) -> Command:
    def run(*words: str, where: Path = repository) -> Ran:
        import work

        environment = {**variables(tmp_path), "EVENBENCH_BACKENDS": work.BACKENDS, "PYTHONPATH": ""}
        command = [
            sys.executable,
            "-m",
            "evenbench.harness.cli",
            *words,
            "--results",
            str(tmp_path / "results"),
        ]
        environment["PYTHONPATH"] = str(HERE.parent.parent)
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


def verdicts(tmp_path: Path) -> dict[str, Any]:
    (file,) = (tmp_path / "results").glob("compare-*.json")
    found = json.loads(file.read_text())
    (cell,) = [each for each in found["cells"] if not each["control"]]
    assert cell["cell"] == "work-work-fp32-cpu-b1-t1"
    return {
        "exit": found["exit"],
        "words": found["words"],
        **{name: metric["verdict"] for name, metric in cell["metrics"].items()},
    }


def test_preprocessing_that_takes_a_tenth_longer_is_an_alarm_in_its_commit(
    evenbench: Command, repository: Path, tmp_path: Path
) -> None:
    ran = evenbench("compare", "base", "slow", "--plan", "quick")
    assert ran.code == exit_codes.WORSE, ran.text
    found = verdicts(tmp_path)
    assert found["latency"] == "slower", ran.text
    assert found["error"] == found["artifact"] == "equivalent"
    assert "work-work-fp32-cpu-b1-t1: latency +" in ran.text
    assert f"slow ({git(repository, 'rev-parse', 'slow')[:8]})" in ran.text


@pytest.mark.nightly
def test_a_change_of_words_is_no_alarm(evenbench: Command, tmp_path: Path) -> None:
    ran = evenbench("compare", "large", "words", "--plan", "quick", "--pairs", "8")
    assert ran.code == exit_codes.PASS, ran.text
    found = verdicts(tmp_path)
    assert found["latency"] in ("equivalent", "inconclusive")
    assert found["error"] == found["artifact"] == "equivalent"


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("base", "head", "metric"), [("slow", "loose", "error"), ("loose", "large", "artifact")]
)
def test_a_looser_answer_and_a_larger_artifact_are_alarms_in_their_commits(
    evenbench: Command, tmp_path: Path, base: str, head: str, metric: str
) -> None:
    told = {kind: tmp_path / f"told.{kind}" for kind in ("junit", "sarif", "summary")}
    flags = [word for kind, file in told.items() for word in (f"--{kind}", str(file))]
    ran = evenbench("compare", base, head, "--plan", "quick", "--pairs", "8", "--github", *flags)
    assert ran.code == exit_codes.WORSE, ran.text
    found = verdicts(tmp_path)
    assert {name: found[name] for name in ("error", "artifact")} == {
        "error": "equivalent",
        "artifact": "equivalent",
    } | {metric: "slower"}
    assert any(f"{metric} +" in words for words in found["words"])
    assert found["latency"] != "slower"
    assert (
        "::error file=benchmarks/bench_work.py,line=4,title=evenbench%3A work-work-fp32-cpu-b1-t1::"
        in ran.text
    )
    assert "<failure" in told["junit"].read_text()
    assert "Something is worse" in told["summary"].read_text()
    (alarm,) = [
        one
        for one in json.loads(told["sarif"].read_text())["runs"][0]["results"]
        if one["level"] == "error"
    ]
    assert alarm["locations"][0]["physicalLocation"]["region"] == {"startLine": 4}
    assert alarm["properties"]["metric"] == metric


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ("compare", "nothing", "HEAD"),
            4,
            "nothing is neither a registered backend nor a commit here",
        ),
        (("compare", "work", "HEAD"), 4, "one is a backend and the other is not"),
        (("compare", "work", "work"), 4, "compared with itself"),
        (("compare", "base", "slow", "--pairs", "7"), 4, "7 pairs can never alarm"),
        (("compare", "base", "slow", "--budget", "soon"), 4, "--budget 'soon' is not a duration"),
        (("compare", "base", "slow", "-k", "nowhere"), 5, "neither base"),
        (("compare", "work", "work:repeats=2", "-k", "nowhere"), 5, "matches none of"),
        (("compare", "base", "slow", "elsewhere"), 4, "elsewhere: no such file or folder"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(
    evenbench: Command, words: tuple[str, ...], code: int, message: str
) -> None:
    ran = evenbench(*words)
    assert ran.code == code
    assert message in ran.text
    assert "Traceback" not in ran.text


def test_worktrees_are_gone_afterwards_and_the_working_folder_is_as_it_was(
    evenbench: Command, repository: Path
) -> None:
    evenbench("compare", "base", "slow", "-k", "nowhere")
    assert git(repository, "worktree", "list").count("\n") == 0
    assert git(repository, "status", "--porcelain") == ""


def test_a_comparison_that_is_ended_leaves_no_worktree(repository: Path, tmp_path: Path) -> None:
    """A job that is cancelled, or runs out of time, gets SIGTERM."""
    import work

    environment = {
        **variables(tmp_path),
        "EVENBENCH_BACKENDS": work.BACKENDS,
        "PYTHONPATH": str(HERE.parent.parent),
    }
    command = [
        sys.executable,
        "-m",
        "evenbench.harness.cli",
        "compare",
        "base",
        "slow",
        "--results",
        str(tmp_path / "results"),
    ]
    process = subprocess.Popen(
        command, cwd=repository, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while git(repository, "worktree", "list").count("\n") < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told.splitlines()[-1]) == (
        exit_codes.INTERRUPTED,
        "evenbench: interrupted",
    )
    assert git(repository, "worktree", "list").count("\n") == 0
    assert not list((tmp_path / "results").glob("*"))


def test_a_commit_without_benchmarks_is_named(
    evenbench: Command, repository: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(repository), str(other))
    git(other, "rm", "-rq", "benchmarks")
    git(other, "commit", "-qm", "no benchmarks")
    ran = evenbench("compare", "HEAD", "base", where=other)
    assert ran.code == exit_codes.NOTHING
    short = git(other, "rev-parse", "base")[:8]
    assert f"has no benchmarks; only in base ({short}): work" in ran.text
    assert "no folder benchmarks and no bench_*.py" in ran.text


def test_a_shallow_clone_is_told_how_to_get_its_history(
    evenbench: Command, repository: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", "--depth", "1", repository.as_uri(), "shallow")
    ran = evenbench("compare", "HEAD~1", "HEAD", where=tmp_path / "shallow")
    assert ran.code == 4
    assert "git fetch --unshallow" in ran.text


def test_what_is_not_committed_is_told_to_be_left_out(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import work

    git(tmp_path, "clone", "-q", str(repository), "dirty")
    monkeypatch.chdir(tmp_path / "dirty")
    monkeypatch.setenv("EVENBENCH_BACKENDS", work.BACKENDS)
    with sides.sides("HEAD~1", "HEAD", ["benchmarks"], PLANS["quick"]) as clean:
        assert clean.notes == ()
    Path("work.py").write_text(Path("work.py").read_text() + "# not committed\n")
    with sides.sides("HEAD~1", "HEAD", ["benchmarks"], PLANS["quick"]) as pair:
        assert any(
            "changes that are not in HEAD" in note and "compare with `.`" in note
            for note in pair.notes
        )
        assert pair.place("work-work-fp32-cpu-b1-t1") == {
            "file": "benchmarks/bench_work.py",
            "line": 4,
        }


@pytest.mark.parametrize(
    ("file", "text", "code", "message"),
    [
        (
            "benchmarks/bench_work.py",
            "raise RuntimeError('half done')",
            4,
            "cannot be imported: RuntimeError: half done",
        ),
        ("work.py", "import a_runtime_that_is_gone", 1, "name a base that can be measured"),
    ],
)
def test_a_base_that_does_not_build_is_no_verdict_on_head(
    evenbench: Command,
    repository: Path,
    tmp_path: Path,
    file: str,
    text: str,
    code: int,
    message: str,
) -> None:
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(repository), str(other))
    whole = (other / file).read_text()
    inside = "def artifact_key(self, cell):\n"
    (other / file).write_text(
        f"{text}\n" if file != "work.py" else whole.replace(inside, f"{inside}        {text}\n")
    )
    git(other, "commit", "-qam", "broken")
    (other / file).write_text(whole)
    git(other, "commit", "-qam", "whole again")
    ran = evenbench("compare", "HEAD~1", "HEAD", "--plan", "quick", where=other)
    assert ran.code == code, ran.text
    assert "HEAD~1 (" in ran.text
    assert message in ran.text


def test_two_recorded_runs_are_shown_without_a_verdict(
    evenbench: Command, repository: Path, tmp_path: Path
) -> None:
    files = []
    for _ in range(2):
        assert evenbench("run", "benchmarks", "--fresh", "--plan", "quick").code == 0
        (file,) = set((tmp_path / "results").glob("*.jsonl")) - set(files)
        files.append(file)
    ran = evenbench("compare", str(files[0]), str(files[1]))
    assert ran.code == 0, ran.text
    assert "unpaired" in ran.text
    assert "No verdict is given" in ran.text
    line = json.loads(files[1].read_text())
    line["environment"]["cpu"] = "another"
    files[1].write_text(json.dumps(line) + "\n")
    ran = evenbench("compare", str(files[0]), str(files[1]))
    assert ran.code == 4
    assert "cpu: " in ran.text
    assert evenbench("compare", str(files[0]), str(files[1]), "--anyway").code == 0
    files[1].write_text(
        json.dumps(
            {**line, "environment": json.loads(files[0].read_text())["environment"], "schema": 1}
        )
        + "\n"
    )
    ran = evenbench("compare", str(files[0]), str(files[1]))
    assert (ran.code, "schema: 2 against 1" in ran.text) == (4, True), ran.text
    files[1].write_text(json.dumps({**line, "schema": 99}) + "\n")
    ran = evenbench("compare", str(files[0]), str(files[1]))
    assert (ran.code, "schema 99" in ran.text) == (4, True), ran.text


def test_sides_read_options() -> None:
    assert sides.backend_of("ort:spinning=off,level=2") == sides.Change(
        "ort", (("level", 2), ("spinning", "off"))
    )
    assert sides.backend_of("ort@1.24.1") == sides.Change("ort@1.24.1", ())
    assert sides.backend_of("main") is None
    with pytest.raises(UsageError, match="is no option"):
        sides.backend_of("ort:off")


def result(
    verdict: str = "equivalent", control: bool = False, failure: str = "", wrong: str = ""
) -> dict[str, Any]:
    """A judged cell of one metric."""
    found = {"verdict": verdict, "ratio": 1.1, "low": 1.05, "high": 1.15, "needed_pairs": None}
    metric = {"verdict": verdict, "margin": 0.02, "screen": found, "confirmation": None}
    metrics = {} if failure else {"latency": metric}
    return {
        "cell": "c",
        "control": control,
        "failure": failure,
        "wrong": [wrong, ""],
        "metrics": metrics,
        "pairs": [],
    }


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([result()], exit_codes.PASS),
        ([result("slower")], exit_codes.WORSE),
        ([result("faster")], exit_codes.PASS),
        ([result("inconclusive")], exit_codes.UNDECIDED),
        ([result(failure="gone")], exit_codes.WORSE),
        ([result(wrong="is off")], exit_codes.WORSE),
        ([result("slower"), result("slower", control=True)], exit_codes.UNHEALTHY),
        ([result(), result("faster", control=True)], exit_codes.UNHEALTHY),
        ([result("slower"), result(control=True, failure="gone")], exit_codes.UNHEALTHY),
    ],
)
def test_exit_codes(found: list[dict[str, Any]], code: int) -> None:
    assert exit_status.ending(found, require_conclusive=True).code == code
    if code == exit_codes.UNDECIDED:
        assert exit_status.ending(found).code == exit_codes.PASS


def test_a_result_says_what_would_decide_it() -> None:
    pairs = [0.03, 0.05, 0.0, 0.08, 0.01, 0.06, -0.02, 0.07]
    judged = paired_test.judge(ratios.of_values(pairs), paired_test.Rule())
    assert judged.verdict == "inconclusive"
    metric = {
        "verdict": "inconclusive",
        "margin": 0.02,
        "screen": vars(judged),
        "confirmation": None,
    }
    assert f"about {judged.needed_pairs} pairs would decide it" in exit_status.verdict_words(
        "latency", metric
    )
