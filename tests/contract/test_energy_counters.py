"""The library that reads RAPL, for real, on counters that are files: zones, a wrap-around, and
counters that only root may read.

It is installed into an environment of its own: nothing else here needs it, and it brings a
`cpuinfo` beside the one of pytest-benchmark.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.environment import installers

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, builder = tmp_path_factory.mktemp("energy"), installers.find()
    (folder / "lock").write_text("\n".join(builder.resolve(["codecarbon>=3.2"])))
    builder.install(folder / "environment", folder / "lock")
    return installers.python_of(folder / "environment")


def zone(rapl: Path, number: int, name: str, joules: int) -> Path:
    """A zone as the kernel shows one; returns the file of its counter, which is in microjoules and
    wraps at 1,000 J.
    """
    folder = rapl / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text("1000000000\n")
    (folder / "energy_uj").write_text(f"{joules}000000\n")
    return folder / "energy_uj"


class Reading:
    """A running `python -m harness.environment.energy`."""

    def __init__(self, python: Path, rapl: Path) -> None:
        command, variables = (
            [str(python), "-m", "evenbench.harness.environment.energy", "--rapl", str(rapl)],
            {**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.process = subprocess.Popen(
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def said(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def ask(self, verb: str) -> Any:
        assert self.process.stdin
        self.process.stdin.write(f"{verb}\n")
        self.process.stdin.flush()
        return self.said()


@pytest.fixture
def reading(python: Path, tmp_path: Path) -> Iterator[Any]:
    started: list[Reading] = []

    def begun() -> Reading:
        started.append(Reading(python, tmp_path / "intel-rapl"))
        return started[-1]

    yield begun
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.mark.slow
def test_two_packages_are_told_apart_and_a_counter_that_wraps_counts_on(
    reading: Any, tmp_path: Path
) -> None:
    rapl = tmp_path / "intel-rapl"
    first, second = zone(rapl, 0, "package-0", 900), zone(rapl, 1, "package-1", 100)
    counters = reading()
    assert counters.said() == {}
    assert counters.ask("begin") == {}
    first.write_text("150000000\n")  # over the top: 100 J to it and 150 J after it
    second.write_text("400000000\n")
    told = counters.ask("end")
    assert told["joules"] == {
        "package-0": pytest.approx(250, rel=1e-4),
        "package-1": pytest.approx(300, rel=1e-4),
    }
    assert told["by"].startswith("codecarbon 3.")
    counters.ask("begin")
    second.write_text("500000000\n")
    assert counters.ask("end")["joules"]["package-1"] == pytest.approx(100, rel=1e-4), (
        "of each measurement alone"
    )


@pytest.mark.slow
def test_counters_that_cannot_be_read_are_a_reason(reading: Any, tmp_path: Path) -> None:
    zone(tmp_path / "intel-rapl", 0, "package-0", 1).write_text("not a number")
    assert "cannot be read" in reading().said()["reason"]
