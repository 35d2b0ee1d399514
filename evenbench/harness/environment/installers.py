"""uv and pip behind two verbs: resolve requirements, and install pinned packages."""

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

from evenbench.harness.core.errors import Unavailable
from evenbench.harness.environment import git_command

COMMAND_SECONDS = 3600.0
"""Time limit of one command: enough for gigabytes over a slow line."""

TAIL = 1500
"""Characters kept of a failed command's output, from its end."""


def distribution_of(requirement: str) -> str:
    """The normalised name of the distribution in a requirement or a pinned package."""
    return re.sub(
        r"[-_.]+", "-", re.split(r"[\s\[;=<>~!@(]", requirement.strip(), maxsplit=1)[0]
    ).lower()


def python_of(folder: Path) -> Path:
    """The interpreter of an environment's folder."""
    return folder / "bin" / "python"


class InstallError(Exception):
    """A failed command of an installer, with the end of its output as message."""


def _run(command: Sequence[str], stdin: str = "") -> str:
    """The command's standard output. Raises InstallError with the end of its standard error."""
    variables = {
        name: value
        for name, value in git_command.without_repository(os.environ).items()
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
        message = " ".join((done.stderr.strip() or done.stdout.strip())[-TAIL:].split())
        raise InstallError(message.rstrip(".") or f"exit code {done.returncode} without a message")
    return done.stdout


@dataclass(frozen=True)
class Uv:
    """uv: faster than pip, and environments share files through its cache."""

    program: str
    by: str
    """Name and version, for the record."""

    def resolve(self, requirements: Sequence[str]) -> list[str]:
        """Pin every required distribution for this Python. Raises InstallError with uv's output."""
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
        """Make `folder` an environment with only the packages in `pinned`. Raises InstallError."""
        quiet = ("--quiet", "--color", "never")
        _run(
            [self.program, "venv", *quiet, "--no-project", "--python", sys.executable, str(folder)]
        )
        # Compiled now, or the first import would count compilation as the runtime's cold start.
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
    """pip, for machines without uv."""

    by: str

    def resolve(self, requirements: Sequence[str]) -> list[str]:
        """Like `Uv.resolve`."""
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
        """Like `Uv.install`; pip compiles bytecode by default."""
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
    """Find uv beside this Python, else on the PATH, else pip. Raises Unavailable without any."""
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    program = str(beside) if os.access(beside, os.X_OK) else shutil.which("uv")
    if program:
        try:
            return Uv(program, " ".join(_run([program, "--version"]).split()[:2]))
        except InstallError:
            pass  # a broken uv counts as absent
    try:
        return Pip(f"pip {metadata.version('pip')}")
    except metadata.PackageNotFoundError:
        reason = (
            "building an environment needs uv or pip, and neither is installed; install uv on "
            "the PATH"
        )
        raise Unavailable(reason) from None
