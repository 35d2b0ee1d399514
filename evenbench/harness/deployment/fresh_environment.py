"""The fresh environment of a proof: packages from the program's requirements, compiled sources, and
programs run without any other installation.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from evenbench.harness.deployment import shared_libraries
from evenbench.harness.deployment.proof import ProgramSize, ProofBuild, ProofEnvironment
from evenbench.harness.environment import installers

LIMIT_SECONDS = 600.0
"""Limit of one run of a program."""

TAIL = 1200
"""Characters kept from the end of a failed program's output."""


class NotProved(Exception):
    """The program misbehaves or cannot be tried; the message has the reason."""


def build(requirements: Sequence[str], lock: Path, folder: Path) -> tuple[Path, ProofEnvironment]:
    """Install the current resolution of the requirements into `folder`, and write it to `lock`;
    returns the environment's Python and contents.
    """
    builder = installers.find()
    packages = sorted(builder.resolve(requirements), key=str.casefold)
    lock.write_text("".join(f"{package}\n" for package in packages))
    builder.install(folder, lock)
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.lstat().st_size for path in files)
    return installers.python_of(folder), {"by": builder.by, "packages": packages, "bytes": size}


def compile_sources(
    source: Path, tools: Sequence[str], python: Path, work: Path, build: Path
) -> ProofBuild:
    """Compile C++ sources into `build` against the environment of `python`, with build tools from a
    second environment.
    """
    builder = installers.find()
    packages = sorted(builder.resolve(tools), key=str.casefold)
    (work / "tools.lock").write_text("".join(f"{package}\n" for package in packages))
    builder.install(work / "tools", work / "tools.lock")
    _run_cmake(installers.python_of(work / "tools").parent, source, python, work, build)
    products = [build / name for name in ("program", "libnative.so", "options.txt")]
    return {
        "tools": packages,
        "bytes": sum(file.stat().st_size for file in products),
        "program_with_libraries": _with_libraries(products[0], products[-1]),
    }


def _run_cmake(tools: Path, source: Path, python: Path, work: Path, build: Path) -> None:
    ninja, cmake = tools / "ninja", str(tools / "cmake")
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja.exists() else []
    compiler = {name: os.environ[name] for name in ("PATH", "CXX") if name in os.environ}
    configure = [cmake, "-S", str(source), "-B", str(build), f"-DPython_EXECUTABLE={python}"]
    run([*configure, *generator], work, compiler)
    run([cmake, "--build", str(build)], work, compiler)


def _with_libraries(program: Path, options: Path) -> ProgramSize:
    """The size of a program with linked libraries, and libraries opened at run time."""
    lines = options.read_text(encoding="utf-8").splitlines()
    opened = next((line.partition("=")[2] for line in lines if line.startswith("opened=")), "")
    roots = [program, *map(Path, filter(None, opened.split(";")))]
    needed = shared_libraries.closure_or_reason(roots)
    return {
        "bytes": needed.bytes or None,
        "files": [file.name for file in needed.files],
        "reason": needed.reason,
    }


def run(command: Sequence[str], work: Path, more: Mapping[str, str] | None = None) -> None:
    """Run a program from the folder `work`, without variables of this process except `more`.

    Raises NotProved with the program's output for a failure.
    """
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    variables = {
        "PATH": os.defpath,
        "HOME": str(work),
        "BUILD_DIR": str(work / "build"),
        **kept,
        **(more or {}),
    }
    name = Path(command[0]).name if more else "the program"
    try:
        done = subprocess.run(
            command, cwd=work, env=variables, capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NotProved(f"{name} did not end within {LIMIT_SECONDS:.0f} s") from None
    if done.returncode:
        tail = " ".join((done.stderr.strip() or done.stdout.strip())[-TAIL:].split())
        raise NotProved(f"{name} ended with {done.returncode}: {tail}")
