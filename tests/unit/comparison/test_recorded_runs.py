"""Two recorded runs: what must agree before they are shown, what they cannot be asked, and how
little their intervals see.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evenbench.harness import cli
from evenbench.harness.comparison import recorded_runs
from evenbench.harness.core.errors import UsageError

GPU = {"name": "A100", "capability": "8.0", "driver": "550", "memory_bytes": 1}


def line(
    identity: str, level: float = 1e6, device: str = "cpu", **environment: Any
) -> dict[str, Any]:
    """An outcome of three processes about a level in nanoseconds."""
    processes = [[round(level * factor)] * 9 for factor in (0.98, 1.0, 1.03)]
    return {
        "schema": 2,
        "time": "2026-01-01T00:00:00Z",
        "cell": {
            "id": identity,
            "key": f"key of {identity}",
            "model": "m",
            "backend": "b",
            "device": device,
        },
        "outcome": "ok",
        "environment": {
            "cpu": "A",
            "packages": {"onnx": "1"},
            "gpus": [GPU],
            "variables": {},
            **environment,
        },
        "samples_ns": {"compute": processes},
    }


def write(folder: Path, name: str, *lines: dict[str, Any]) -> str:
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return str(file)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    return [
        write(tmp_path, name, line("one", level), line("two", level))
        for name, level in (("a", 1e6), ("b", 1.1e6))
    ]


def test_it_says_how_much_weaker_it_is_than_pairs(runs: list[str]) -> None:
    found = recorded_runs.compared(*runs)
    assert [cell["ratio"] for cell in found] == pytest.approx([1.1, 1.1], rel=1e-5)
    half = found[0]["half"]
    assert half > 0.05, "three processes a side see little"
    assert found[0]["low"] * (1 + half) == pytest.approx(found[0]["ratio"])
    told = io.StringIO()
    recorded_runs.show(found, Console(file=told, width=200))
    assert (
        f"±{100 * half:.1f} % wide by these processes alone, {half / 0.02:.1f} times the ±2 % "
        "to which pairs"
    ) in told.getvalue()


def test_cells_are_chosen_as_everywhere_and_none_is_no_pass(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, wanted in (
        (["-k", "two"], ["two"]),
        (["--cell", "key of one"], ["one"]),
        ([], ["one", "two"]),
    ):
        assert cli.main(["compare", *runs, *words, "--json"]) == 0
        assert [cell["cell"] for cell in json.loads(capsys.readouterr().out)["cells"]] == wanted
    assert cli.main(["compare", *runs, "-k", "three"]) == 5
    assert "leave none of 2 cells" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["--junit", "x.xml"],
            ["--sarif", "x"],
            ["--summary", "x"],
            ["--github"],
            ["--require-conclusive"],
            ["--strict-health"],
        ),
        *(["--budget", "5m"], ["elsewhere"], ["--batch", "8"]),
    ],
)
def test_what_needs_pairs_is_refused_and_not_passed_over(
    words: list[str],
    runs: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", *runs, *words]) == 4
    assert f"{words[0]} says nothing: they have no verdict" in capsys.readouterr().err
    assert not (tmp_path / "x.xml").exists()


def test_a_recorded_run_is_compared_with_another_one(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for sides in ((runs[0], "HEAD"), ("ort", runs[0])):
        assert cli.main(["compare", *sides]) == 4
        assert f"{runs[0]} is a recorded run and " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "device", "words"),
    [
        ({"gpus": [{**GPU, "driver": "560"}]}, "cuda", "gpus: "),
        ({"variables": {"OMP_PROC_BIND": "close"}}, "cpu", "variables: "),
        ({"packages": {"onnx": "2"}}, "cpu", "onnx 1 against 2"),
    ],
)
def test_what_changes_numbers_must_agree(
    environment: dict[str, Any], device: str, words: str, tmp_path: Path
) -> None:
    one = write(tmp_path, "a", line("one", device=device))
    other = write(tmp_path, "b", line("one", device=device, **environment))
    with pytest.raises(UsageError, match=words):
        recorded_runs.compared(one, other)
    (found,) = recorded_runs.compared(one, other, anyway=True)
    assert found["differ"]


def test_another_gpu_is_no_matter_of_the_processor(tmp_path: Path) -> None:
    found = recorded_runs.compared(
        write(tmp_path, "a", line("one")), write(tmp_path, "b", line("one", gpus=[]))
    )
    assert found[0]["differ"] == []


def test_the_side_that_is_no_recorded_run_is_named(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, wrong in (
        ([str(tmp_path), "nosuch"], "nosuch"),
        (["nosuch", str(tmp_path)], "nosuch"),
        ([runs[0], "HEAD"], "HEAD"),
    ):
        assert cli.main(["compare", *words]) == 4
        assert f" is a recorded run and {wrong} is no results file" in capsys.readouterr().err


def test_a_cell_without_a_ratio_has_a_reason(tmp_path: Path) -> None:
    wrong = {**line("wrong"), "outcome": "mismatch"}
    single = {**line("single"), "samples_ns": {"compute": [[1, 1]]}}
    file = write(tmp_path, "c", wrong, single)
    shown = io.StringIO()
    recorded_runs.show(recorded_runs.compared(file, file), Console(file=shown, width=200))
    assert "no ratio: mismatch" in shown.getvalue()
    assert "no ratio: a single process has no interval; use --plan default" in shown.getvalue()
