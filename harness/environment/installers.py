"""uv and pip behind two verbs: pin what some requirements need, and install what was pinned into a
new folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.core.errors import Unavailable

COMMAND_SECONDS = 3600.0
"""The limit of one command: gigabytes over a slow line, but not a resolver that hangs for ever."""

TAIL = 1500
"""How many characters of a failed command's own words are kept: the last ones."""


def distribution_of(requirement: str) -> str:
    """The normalised name of the distribution that a requirement or a pinned package is about."""
    return re.sub(
        r"[-_.]+", "-", re.split(r"[\s\[;=<>~!@(]", requirement.strip(), maxsplit=1)[0]
    ).lower()


def python_of(folder: Path) -> Path:
    """The interpreter of an environment's folder."""
    return folder / "bin" / "python"


class InstallError(Exception):
    """A command of the builder failed; the message is the end of what it said."""


def _run(command: Sequence[str], stdin: str = "") -> str:
    """The command's standard output. Raises InstallError with the end of its standard error."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    }
    begin = time.monotonic()
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            env=variables,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"no end after {time.monotonic() - begin:.0f} s") from None
    except OSError as error:
        raise InstallError(f"{command[0]} does not start ({error.strerror})") from None
    if done.returncode:
        told = " ".join((done.stderr.strip() or done.stdout.strip())[-TAIL:].split())
        raise InstallError(told.rstrip(".") or f"exit code {done.returncode} without a word")
    return done.stdout


@dataclass(frozen=True)
class Uv:
    """The quicker one, and the one whose cache lets environments share files."""

    program: str
    by: str
    """Its name and version, for the record."""

    def resolve(self, requirements: Sequence[str]) -> list[str]:
        """Every distribution that is needed, pinned, for this Python. Raises InstallError with the
        resolver's words.
        """
        options = [
            "--python",
            sys.executable,
            "--no-header",
            "--no-annotate",
            "--quiet",
            "--color",
            "never",
        ]
        listed = _run([self.program, "pip", "compile", *options, "-"], "\n".join(requirements))
        return [
            line.strip()
            for line in listed.splitlines()
            if line.strip() and not line.lstrip().startswith(("#", "-"))
        ]

    def install(self, folder: Path, pinned: Path) -> None:
        """Make `folder` an environment that holds what the file `pinned` lists, and nothing else.
        Raises InstallError.
        """
        quiet = ("--quiet", "--color", "never")
        _run(
            [self.program, "venv", *quiet, "--no-project", "--python", sys.executable, str(folder)]
        )
        # Compiled now: a first import that compiles would be booked as the runtime's cold start.
        what = (
            "--no-deps",
            "--compile-bytecode",
            "--python",
            str(python_of(folder)),
            "-r",
            str(pinned),
        )
        _run([self.program, "pip", "install", *quiet, *what])


@dataclass(frozen=True)
class Pip:
    """What is there where uv is not."""

    by: str

    def resolve(self, requirements: Sequence[str]) -> list[str]:
        """As `Uv.resolve`."""
        options = [
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--report",
            "-",
        ]
        report = json.loads(_run([sys.executable, "-m", "pip", "install", *options, *requirements]))
        return [self._pinned(item) for item in report["install"]]

    @staticmethod
    def _pinned(item: Mapping[str, Any]) -> str:
        about = item["metadata"]
        name = distribution_of(about["name"])
        return (
            f"{name} @ {item['download_info']['url']}"
            if item.get("is_direct")
            else f"{name}=={about['version']}"
        )

    def install(self, folder: Path, pinned: Path) -> None:
        """As `Uv.install`; pip compiles what it installs by itself."""
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        what = (
            "--no-deps",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "-r",
            str(pinned),
        )
        _run([sys.executable, "-m", "pip", "--python", str(python_of(folder)), "install", *what])


def find() -> Uv | Pip:
    """uv beside this Python, else on the PATH, else pip. Raises Unavailable where there is none of
    them.
    """
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    program = str(beside) if os.access(beside, os.X_OK) else shutil.which("uv")
    if program:
        try:
            return Uv(program, " ".join(_run([program, "--version"]).split()[:2]))
        except InstallError:
            pass  # a broken uv is no uv
    try:
        return Pip(f"pip {metadata.version('pip')}")
    except metadata.PackageNotFoundError:
        reason = "building an environment needs uv or pip, and neither is installed; install uv, and see that it is on the PATH"
        raise Unavailable(reason) from None
