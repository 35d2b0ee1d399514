"""The compiler and CMake that build C++ runners."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = ("cmake", "ninja")


BUILD_TOOLS = ("cmake>=3.26", "ninja>=1.11")
"""What an environment of a runner's own needs beside the runtime."""


def lacks() -> str:
    """In words, what is needed to build a runner and is not here; an empty string where nothing is.
    Looks, and imports nothing.
    """
    if not sys.platform.startswith("linux"):
        return f"C++ runners are built against the shared libraries of Linux wheels, and this is {sys.platform}; run them on Linux"
    wanting = []
    if not cmake():
        wanting.append("cmake (pip install 'evenbench[cpp]')")
    if not compiler():
        named = os.environ.get("CXX", "")
        wanting.append(
            f"the compiler that CXX names ({named})" if named else "a C++20 compiler (such as g++)"
        )
    return (
        f"a C++ runner is built on first use, and this is missing: {' and '.join(wanting)}; install it"
        if wanting
        else ""
    )


def compiler() -> list[str]:
    """The command of the C++ compiler: `CXX` where it is set, as CMake reads it, g++ or clang++
    otherwise; empty where there is none.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    if named:
        return named if shutil.which(named[0]) else []
    return next(([name] for name in ("g++", "clang++") if shutil.which(name)), [])


def cmake() -> str:
    beside = Path(sys.executable).with_name(
        "cmake"
    )  # the one of this environment, whether or not it is activated
    return str(beside) if beside.exists() else shutil.which("cmake") or ""


def compiler_key() -> list[str]:
    """The compiler's command and what it says of its version."""
    command = compiler()
    said = (
        subprocess.run([*command, "--version"], capture_output=True, text=True, check=False).stdout
        if command
        else ""
    )
    return [*command, said.partition("\n")[0]]


def compiler_version() -> str:
    """What the compiler says of itself in its first line; empty where there is none."""
    return compiler_key()[-1]
