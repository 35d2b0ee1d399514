"""The command line as a user meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness import PLANS, __version__, cli
from evenbench.harness.commands import compare, history, progress, run
from evenbench.harness.core import exit_codes
from evenbench.harness.runner.schedule import Event
from tests.performance import yardstick

BENCH = """
from harness import BATCH, Case, Model, TensorSpec

def model(number):
    return Model(
        name=f"m{number}",
        build="nobody.builds:this",
        inputs=(TensorSpec("x", (BATCH, 4)),),
        outputs=(TensorSpec("y", (BATCH, 2)),),
        inputs_from="harness.inputs:standard_normal",
    )

"""
NULL_CASE = 'floor = Case(models=(model(0), model(1)), backends=("null",))\n'
MIXED_CASE = (
    'mixed = Case(models=(model(2),), backends=("null",), precisions=("fp32", "int8-static"))\n'
)
MANY_CASE = (
    'many = Case(models=tuple(map(model, range(100))), backends=("null", "ort"), '
    "batch=tuple(range(1, 51)))\n"
)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A declaration file with three null cells and one that is unsupported, and a working folder of
    its own.
    """
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "bench"
    folder.mkdir()
    # A name of its own for each test: an imported module of the same name would be found again.
    file = folder / f"bench_{abs(hash(str(tmp_path))):x}.py"
    file.write_text(BENCH + NULL_CASE + MIXED_CASE)
    monkeypatch.chdir(tmp_path)
    return str(file)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command in this process."""
    try:
        code = cli.main(arguments)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "--version")[:2] == (0, f"evenbench {__version__}\n")


def test_help_documents_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["help", "exit-codes"], ["help", "run"], ["run", "--help"]):
        code, out, _ = ran(capsys, *arguments)
        assert code == 0
        for number in ("1 ", "3 ", "130 "):
            assert f"\n  {number}" in out


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["list", "--nonsense"], ["run", "--pla", "quick"], ["list", "--batch", "x"]],
)
def test_a_malformed_command_exits_as_other_misuse_does(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """pytest's code for it is 4 too; argparse's 2 is what pytest calls an interruption."""
    code, _, err = ran(capsys, *arguments)
    assert code == exit_codes.USAGE
    assert "error: " in err


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys)
    assert (code, err) == (0, "")
    assert "measure latency and accuracy" in out


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["rnu"], "did you mean run?"),
        (["run", "--pla", "quick"], "did you mean --plan?"),
        (["run", "--halfwidth", "2%"], "did you mean --half-width?"),
    ],
)
def test_a_misspelt_word_has_a_suggestion(
    words: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = ran(capsys, *words)
    assert code == exit_codes.USAGE
    assert near in err


@pytest.mark.parametrize(
    ("command", "raised", "code"),
    [
        (["compare", "a", "b"], KeyError("a bug"), 3),
        (["compare", "a", "b"], KeyboardInterrupt(), 2),
        (["history"], KeyboardInterrupt(), 2),
        (["run"], ZeroDivisionError("a bug"), 3),
        (["run"], KeyboardInterrupt(), 130),
    ],
)
def test_a_fault_or_an_interruption_is_never_taken_for_a_verdict(
    command: list[str],
    raised: BaseException,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (compare, history, run):

        @functools.wraps(module.run)
        def fails(options: Any) -> int:
            raise raised

        monkeypatch.setattr(module, "run", fails)
    found, out, err = ran(capsys, *command)
    assert (found, out) == (code, "")
    assert ("Traceback" in err and "internal error; please report it" in err) == (code == 3)


def test_list_is_one_line_per_cell_with_its_reason(
    bench: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ran(capsys, "list", bench)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "m0-null-fp32-cpu-b1",
        "m1-null-fp32-cpu-b1",
        "m2-null-fp32-cpu-b1",
        "m2-null-int8-static-cpu-b1",
    ]
    assert lines[-1].endswith("unsupported: null runs fp32, not int8-static")
    assert lines[0] == "m0-null-fp32-cpu-b1"


def test_list_json_holds_the_identity_of_each_cell(
    bench: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ran(capsys, "list", bench, "--json", "-k", "m2")
    cells = json.loads(out)
    assert code == 0
    assert [cell["precision"] for cell in cells] == ["fp32", "int8-static"]
    assert [bool(cell["unsupported"]) for cell in cells] == [False, True]
    assert all(cell["case"].endswith("::mixed") and len(cell["key"]) == 16 for cell in cells)


def test_cells_are_chosen_by_case_expression_id_and_key(
    bench: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(ran(capsys, "list", f"{bench}::floor")[1].splitlines()) == 2
    assert len(ran(capsys, "list", bench, "-k", "m1 or int8")[1].splitlines()) == 2
    assert ran(capsys, "list", bench, "--cell", "m1-null-fp32-cpu-b1")[1] == "m1-null-fp32-cpu-b1\n"
    (cell,) = json.loads(ran(capsys, "list", bench, "--cell", "m1-null-fp32-cpu-b1", "--json")[1])
    assert ran(capsys, "list", bench, "--cell", cell["key"], "--cell", "m0-null-fp32-cpu-b1")[
        1
    ].splitlines() == [
        "m0-null-fp32-cpu-b1",
        "m1-null-fp32-cpu-b1",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "nowhere"], "nowhere: no such file or folder"),
        (["list", "{bench}", "-k", "nothing"], "matches none of 4 cells"),
        (["list", "{bench}", "-k", "m0 and ("], "does not parse"),
        (["list", "{bench}", "--cell", "m0-null-fp32-cpu-b2"], "did you mean m0-null-fp32-cpu-b1"),
        (["list", "{bench}::absent"], "has no case 'absent'"),
        (["list", "{bench}", "--batch", "8"], "--batch is for a model of your own"),
        (["run", "{bench}", "--timeout", "-1"], "timeout_seconds a number above 0"),
        (["report", "nowhere"], "no such results file or folder"),
        (["inspect", "nothing"], "no such results file or folder"),
        (["inspect", "absent.onnx"], "absent.onnx: no such file"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_4(
    arguments: list[str], said: str, bench: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ran(capsys, *(argument.format(bench=bench) for argument in arguments))
    assert (code, out) == (4, "")
    assert err.startswith("evenbench: error: ")
    assert said in err
    assert err.count("\n") == 1


def test_run_prints_each_outcome_the_table_and_the_file(
    bench: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ran(capsys, "run", bench, "--plan", "quick")
    assert code == 0
    assert "4 cells, plan quick" in err
    assert err.count("ok ") == 3
    assert "null runs fp32, not int8-static" in err
    (file,) = Path("results").glob("*.jsonl")
    assert f"results  {file}" in out
    assert "m0  fp32 · cpu · batch 1" in out
    assert len([line for line in out.splitlines() if line.startswith("  null ")]) == 4
    assert "unsupported m2-null-int8-static-cpu-b1: null runs fp32" in out
    assert "expected: about 10 s of measuring" in err
    assert len(file.read_text().splitlines()) == 4


def test_run_json_is_one_value_and_reports_and_inspect_read_what_it_wrote(
    bench: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ran(
        capsys,
        "run",
        f"{bench}::floor",
        "--plan",
        "quick",
        "--json",
        "--results",
        "r",
        "--site",
        "s",
    )
    found = json.loads(out)
    assert code == 0
    assert [line["outcome"] for line in found["outcomes"]] == ["ok", "ok"]
    assert Path(found["site"]).is_file()
    line = found["outcomes"][0]
    assert (
        json.loads(ran(capsys, "inspect", line["cell"]["key"], "--results", "r", "--json")[1])
        == line
    )
    assert json.loads(ran(capsys, "inspect", "r", "--json")[1])["runs"][0]["outcomes"] == {"ok": 2}
    assert json.loads(ran(capsys, "report", "r", "-o", "t", "--json")[1])["outcomes"] == 2
    shown = ran(capsys, "inspect", line["cell"]["id"], "--results", "r")[1]
    for expected in ("latency", "attested", line["input_sha256"], line["reproduce"]):
        assert expected in shown.replace("\n                  ", "")


def test_the_command_that_a_line_reproduces_with_runs_that_cell(
    bench: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    line = json.loads(
        ran(capsys, "run", bench, "--plan=quick", "--json", "--cell=m1-null-fp32-cpu-b1")[1]
    )["outcomes"][0]
    program, *arguments = shlex.split(line["reproduce"])
    assert program == "evenbench"
    again = json.loads(ran(capsys, *arguments, "--json")[1])
    assert [outcome["cell"] for outcome in again["outcomes"]] == [line["cell"]]


def test_a_failed_cell_makes_run_exit_with_1(
    bench: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path(bench).read_text()
    Path(bench).write_text(
        text.replace(
            'inputs_from="harness.inputs:standard_normal"', 'inputs_from="no.such.module:f"'
        )
    )
    code, _, err = ran(capsys, "run", f"{bench}::floor", "--plan", "quick")
    assert code == 1
    assert "in prepare: " in err


HEAVY = (
    "numpy",
    "rich",
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "jinja2",
    "matplotlib",
    "plotly",
    "PIL",
    "scipy",
)

LISTING = f"""
import sys, time
from harness import cli
cli.main(sys.argv[1:])
loaded = sorted(set({HEAVY!r}) & set(sys.modules))
print(*loaded, file=sys.stderr)
"""


def test_listing_imports_nothing_heavy(bench: str) -> None:
    root = Path(cli.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", LISTING, "list", bench],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root)},
    )
    assert done.stderr.split() == []
    assert len(done.stdout.splitlines()) == 4


def test_ten_thousand_cells_are_listed_in_half_a_second(bench: str) -> None:
    Path(bench).write_text(BENCH + MANY_CASE)
    root = Path(cli.__file__).parents[2]

    def listed() -> None:
        command = [sys.executable, "-m", "evenbench", "list", bench]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
        assert len(done.stdout.splitlines()) == 10_000

    keeps, told = yardstick.kept(0.5, lambda: yardstick.timed(listed), tries=5)
    assert keeps, told


def test_a_reader_that_goes_away_is_no_error(bench: str) -> None:
    Path(bench).write_text(BENCH + MANY_CASE)
    root = Path(cli.__file__).parents[2]
    command = f"{sys.executable} -m evenbench list {bench} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    assert (done.returncode, done.stderr) == (0, "")


# -- the time that is left -------------------------------------------------------------------------


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_time_left_counts_preparing_and_measuring_apart() -> None:
    clock = Clock()
    plan = replace(PLANS["default"], processes=3)
    estimate = progress.Estimate(plan, clock)
    total = 2 * (1 + 3)

    def hear(kind: str, steps: int) -> float | None:
        event = Event(kind, "", steps, total)
        estimate.hear(event)
        return estimate.remaining(event)

    assert hear("prepare", 0) is None
    clock.seconds = 10
    assert hear("prepare", 1) == pytest.approx(10 + 6 * estimate.first_guess)
    clock.seconds = 20
    assert hear("measure", 2) == pytest.approx(6 * estimate.first_guess)
    clock.seconds = 21
    assert hear("measure", 3) == pytest.approx(5 * 1.0)
    clock.seconds = 24
    assert hear("measure", 4) == pytest.approx(4 * 2.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.2, "about 5 s left"),
        (52, "about 50 s left"),
        (58, "about 1 min left"),
        (600, "about 10 min left"),
        (5000, "about 1 h 23 min left"),
    ],
)
def test_the_time_left_in_words(seconds: Any, words: str) -> None:
    assert progress.remaining_text(seconds) == words


@pytest.mark.parametrize("given", ["nan", "inf"])
def test_a_timeout_that_is_no_time_is_refused(
    given: str, bench: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = ran(capsys, "run", bench, "--timeout", given)
    assert code == 4
    assert "timeout_seconds a number above 0" in err


def test_a_terminal_gets_a_table_of_cells_with_counts_and_time(bench: str) -> None:
    import io

    from rich.console import Console

    from evenbench.harness.collection import availability, selection
    from evenbench.harness.collection.selection_flags import Selection
    from evenbench.harness.commands import list_cells

    prospects = list(availability.prospects(selection.select(Selection(targets=(bench,)))))
    out = io.StringIO()
    list_cells.show(prospects, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert lines[0].split() == ["cell", "can", "run"]
    assert lines[1].split() == ["m0-null-fp32-cpu-b1", "yes"]
    assert any("unsupported: null runs fp32" in line for line in lines)
    assert "4 cells: 3 models on 1 backend; 3 can run, in about 1 min" in out.getvalue()
