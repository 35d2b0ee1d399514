"""CPU time of the machine: parsed from the kernel's line, in the kernel's own ticks."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from evenbench.harness.core import clock_tick
from evenbench.harness.environment import cpu_time
from evenbench.harness.environment.cpu_time import CpuTime


@pytest.fixture
def stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "stat"
    monkeypatch.setattr(cpu_time, "STAT", str(file))
    return file


@pytest.mark.parametrize(
    ("line", "counters", "share"),
    [
        ("cpu  10 1 10 60 10 2 3 4 0 0", CpuTime(26, 70, 4), 0.04),
        ("cpu  10 0 10 80 0 0 0 0 0 0", CpuTime(20, 80, 0), 0.0),
        ("cpu  10 0 10", CpuTime(), None),
        ("", CpuTime(), None),
    ],
)
def test_ticks_are_busy_idle_or_stolen(
    line: str, counters: CpuTime, share: float | None, stat: Path
) -> None:
    stat.write_text(f"{line}\ncpu0 1 2 3 4 5 6 7 8\n")
    assert cpu_time.read() == counters
    assert cpu_time.steal_share() == share


@pytest.mark.usefixtures("stat")
def test_a_machine_without_the_file_has_no_counters() -> None:
    assert cpu_time.read() == CpuTime()
    assert cpu_time.steal_share() is None


def test_the_counters_are_those_of_psutil() -> None:
    found, known = cpu_time.read(), psutil.cpu_times()
    assert found.steal_ticks == pytest.approx(known.steal * clock_tick.ticks_per_second(), abs=2)
    busy = known.user + known.nice + known.system + known.irq + known.softirq
    assert found.busy_ns / 1e9 == pytest.approx(busy, abs=1.0)


def test_busy_time_is_in_the_kernels_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_tick, "ticks_per_second", lambda: 250)
    assert CpuTime(busy_ticks=3).busy_ns == 12_000_000
