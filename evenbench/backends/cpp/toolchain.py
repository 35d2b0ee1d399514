"""The C++ compiler and CMake used to build runners."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = ("cmake", "ninja")


BUILD_TOOLS = ("cmake>=3.26", "ninja>=1.11")
"""Distributions needed in a runner's environment, besides the runtime."""


def lacks() -> str:
    """Explain which build tool is missing, or return an empty string. Imports nothing."""
    if not sys.platform.startswith("linux"):
        return (
            "C++ runners need the shared libraries of Linux wheels, and this is "
            f"{sys.platform}; use Linux"
        )
    missing = []
    if not cmake():
        missing.append("cmake (pip install 'evenbench[cpp]')")
    if not compiler():
        named = os.environ.get("CXX", "")
        missing.append(
            f"the compiler that CXX names ({named})" if named else "a C++20 compiler (such as g++)"
        )
    return f"C++ runners are built on first use; install {' and '.join(missing)}" if missing else ""


def compiler() -> list[str]:
    """Return the compiler's command: `CXX` if set, as in CMake, else g++ or clang++, else empty."""
    named = shlex.split(os.environ.get("CXX", ""))
    if named:
        return named if shutil.which(named[0]) else []
    return next(([name] for name in ("g++", "clang++") if shutil.which(name)), [])


def cmake() -> str:
    # The CMake of this environment, even if the environment is not activated.
    beside = Path(sys.executable).with_name("cmake")
    return str(beside) if beside.exists() else shutil.which("cmake") or ""


def compiler_key() -> list[str]:
    """Return the compiler's command and the first line of its version."""
    command = compiler()
    output = (
        subprocess.run([*command, "--version"], capture_output=True, text=True, check=False).stdout
        if command
        else ""
    )
    return [*command, output.partition("\n")[0]]


def compiler_version() -> str:
    """Return the first line of the compiler's version; empty without a compiler."""
    return compiler_key()[-1]
