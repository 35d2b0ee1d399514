"""A user's own repository: a folder with one declaration, and the tiny numpy backends registered
from outside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


def variables(folder: Path) -> dict[str, str]:
    """The environment of a front end in `folder`, without what an outer pytest left in it."""
    outer = ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "CI")
    kept = {name: value for name, value in os.environ.items() if name not in outer}
    own = {
        "PYTHONPATH": str(HERE),
        "EVENBENCH_BACKENDS": tiny.BACKENDS,
        "EVENBENCH_CACHE": str(folder / "cache"),
        "TINY_LOG": str(folder / "processes.log"),
    }
    return kept | own


@dataclass(frozen=True)
class Ran:
    """One finished command."""

    code: int
    text: str


@dataclass(frozen=True)
class Repository:
    """A folder to run pytest in, as a user does."""

    folder: Path

    def write(self, name: str, text: str) -> Path:
        """Write a file, with the imports that every declaration here needs."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"from harness import Case\nfrom tiny import OTHER, TINY\n{text}\n")
        return file

    def pytest(
        self,
        *arguments: str,
        plan: str = "quick",
        plugin: str = "no:cacheprovider",
        **more: str,
    ) -> Ran:
        """Run pytest in a process of its own."""
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            plugin,
            "--evenbench-plan",
            plan,
            *arguments,
        ]
        environment = variables(self.folder) | more
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Ran(done.returncode, done.stdout + done.stderr)

    def lines(self, results: str = "results") -> list[dict]:
        """The outcome lines of all runs so far, oldest run first."""
        files = sorted(
            (self.folder / results).glob("*.jsonl"), key=lambda file: file.stat().st_mtime_ns
        )
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def processes(self) -> list[str]:
        """The cell ids of all sessions loaded so far, in order."""
        log = self.folder / "processes.log"
        return log.read_text().split() if log.exists() else []


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty one."""
    return Repository(tmp_path)
