"""The g++ of the tests compiles a source once, and anew after every change that matters."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compiler_cache import compile as cached
from tests.conftest import COMPILER

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

Compile = Callable[..., int]


@pytest.fixture
def compilations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compile:
    """Compile `source` into `output` through the cache; how often the real compiler ran so far."""
    real, count = tmp_path / "real", tmp_path / "count"
    real.mkdir()
    (tmp_path / "kept").mkdir()
    script = f'#!/bin/sh\necho "$@" >> {count}\nexec {_real_compiler()} "$@"\n'
    (real / "g++").write_text(script)
    (real / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(COMPILER), str(real), os.environ["PATH"]]))
    monkeypatch.setenv(cached.FOLDER, str(tmp_path / "kept"))

    def run(source: Path, output: Path, *flags: str) -> int:
        command = ["g++", str(source), *flags, "-c", "-o", str(output)]
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode == 0) is output.exists(), done.stderr
        return len(count.read_text().splitlines())

    return run


def _real_compiler() -> str:
    folders = os.environ["PATH"].split(os.pathsep)
    others = [folder for folder in folders if Path(folder) != COMPILER]
    return str(shutil.which("g++", path=os.pathsep.join(others)))


def test_an_equal_source_elsewhere_is_copied(tmp_path: Path, compilations: Compile) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.cpp").write_text("int f() { return 1; }\n")
        source, output = tmp_path / folder / "a.cpp", tmp_path / folder / "a.o"
        assert compilations(source, output) == 1
    first, second = ((tmp_path / folder / "a.o").read_bytes() for folder in ("first", "second"))
    assert first == second


@pytest.mark.parametrize("change", ["source", "header", "flag"])
def test_a_change_is_compiled(tmp_path: Path, compilations: Compile, change: str) -> None:
    source, header = tmp_path / "a.cpp", tmp_path / "a.hpp"
    header.write_text("constexpr int value = 1;\n")
    source.write_text('#include "a.hpp"\nint f() { return value; }\n')
    assert compilations(source, tmp_path / "a.o") == 1
    if change == "source":
        source.write_text('#include "a.hpp"\nint f() { return value + 1; }\n')
    if change == "header":
        header.write_text("constexpr int value = 20;\n")
    assert compilations(source, tmp_path / "b.o", *["-O2"][: change == "flag"]) == 2
    assert (tmp_path / "a.o").read_bytes() != (tmp_path / "b.o").read_bytes()


def test_a_failure_is_not_kept(tmp_path: Path, compilations: Compile) -> None:
    (tmp_path / "a.cpp").write_text("int f() { return }\n")
    assert [compilations(tmp_path / "a.cpp", tmp_path / "a.o") for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    "arguments", [["--version"], ["-E", "/a.cpp", "-o", "b"], ["/a.o", "-o", "b"]]
)
def test_all_else_is_for_the_real_compiler(arguments: list[str]) -> None:
    assert cached.job_of(arguments) is None
