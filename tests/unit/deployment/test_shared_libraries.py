"""What a program needs of shared libraries: read from real ELF files, each once, without the C
library.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evenbench.harness import Backend, Unavailable
from evenbench.harness.deployment import shared_libraries


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program linked against one library of its own, which is linked against another one."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc here to make a program with")

    def made(name: str, source: str, *words: str) -> Path:
        (tmp_path / f"{name}.c").write_text(source)
        command = [
            "gcc",
            "-o",
            str(tmp_path / name),
            str(tmp_path / f"{name}.c"),
            "-L",
            str(tmp_path),
            "-Wl,-rpath,$ORIGIN",
            *words,
        ]
        subprocess.run(command, check=True, cwd=tmp_path)
        return tmp_path / name

    made("libinner.so", "int inner(void) { return 1; }", "-shared", "-fPIC")
    made(
        "libouter.so",
        "int inner(void); int outer(void) { return inner(); }",
        "-shared",
        "-fPIC",
        "-linner",
    )
    return made("program", "int outer(void); int main(void) { return outer(); }", "-louter")


def test_the_closure_has_each_file_once_and_no_c_library(program: Path) -> None:
    found = shared_libraries.closure([program, program.with_name("libinner.so")])
    assert {file.name: file.bytes for file in found.files} == {
        name: program.with_name(name).stat().st_size
        for name in ("program", "libouter.so", "libinner.so")
    }
    assert found.missing == ()
    assert found.bytes == sum(file.bytes for file in found.files)


def test_a_library_that_is_nowhere_is_named(program: Path) -> None:
    program.with_name("libinner.so").unlink()
    assert shared_libraries.closure([program]).missing == ("libinner.so",)


def test_a_backend_without_a_program_has_none_and_one_that_cannot_be_built_says_why() -> None:
    class Pure:
        def binaries(self) -> tuple[Path, ...]:
            return ()

    class Broken:
        def binaries(self) -> tuple[Path, ...]:
            raise Unavailable("no compiler here")

    assert shared_libraries.of(Pure()) is None  # type: ignore[arg-type]
    assert shared_libraries.of(Broken()) == shared_libraries.Program(reason="no compiler here")  # type: ignore[arg-type]
    assert Backend.binaries(None) == ()  # type: ignore[arg-type]


def test_without_a_reader_of_elf_files_the_reason_says_how_to_get_one(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "auditwheel.lddtree", None)
    with pytest.raises(Unavailable, match=r"evenbench\[cpp\]"):
        shared_libraries.closure([program])
