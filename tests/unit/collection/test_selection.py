"""Targets of a command line: the default folder, files of this folder, and plain Python files."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenbench.harness import UsageError
from evenbench.harness.collection import selection
from evenbench.harness.collection.selection_flags import DEFAULT_TARGETS, Selection, parsed
from evenbench.harness.commands.parser import Parser


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_folder_of_benchmarks_the_files_of_this_folder_are_the_targets(
    folder: Path,
) -> None:
    (folder / "bench_b.py").touch()
    (folder / "bench_a.py").touch()
    assert selection._present(DEFAULT_TARGETS) == ("bench_a.py", "bench_b.py")
    (folder / "benchmarks").mkdir()
    assert selection._present(DEFAULT_TARGETS) == DEFAULT_TARGETS
    assert selection._present(("mine",)) == ("mine",)


def test_without_any_declaration_the_ways_on_are_named() -> None:
    with pytest.raises(UsageError, match=r"no folder benchmarks .*file.py:build.*new project"):
        selection.select(Selection())


@pytest.mark.parametrize("flags", [(), ("--shape", "1x3x8x8")])
def test_a_python_file_with_a_network_is_answered_with_its_function(
    folder: Path, flags: tuple[str, ...]
) -> None:
    (folder / "net.py").write_text("def build(): ...")
    with pytest.raises(UsageError, match=r"net\.py:build"):
        selection.select(parsed(["net.py", *flags]))


def test_targets_may_stand_behind_flags() -> None:
    parser = Parser(prog="x")
    parser.add_argument("base")
    parser.add_argument("targets", nargs="*", default=("benchmarks",))
    parser.add_argument("--budget")
    words = ["main", "--budget", "5m"]
    assert parser.parse_args([*words, "a.py", "b.py"]).targets == ["a.py", "b.py"]
    assert parser.parse_args(["main", "a.py", *words[1:], "b.py"]).targets == ["a.py", "b.py"]
    assert parser.parse_args(words).targets == ("benchmarks",)
    with pytest.raises(SystemExit):
        parser.parse_args([*words, "a.py", "--no-such-flag"])
