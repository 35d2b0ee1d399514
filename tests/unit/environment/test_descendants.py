"""CPU time of the processes that a measured process started."""

from __future__ import annotations

from pathlib import Path

from evenbench.harness.core import clock_tick
from evenbench.harness.environment import cpu_time


def process(folder: Path, number: int, parent: int, ticks: int, name: str = "sh") -> None:
    """A process in the form of `/proc`: its name may hold spaces and brackets."""
    (folder / str(number)).mkdir()
    fields = ["S", str(parent), *["0"] * 9, str(ticks), "1", *["0"] * 20]
    (folder / str(number) / "stat").write_text(f"{number} ({name}) {' '.join(fields)}\n")


def test_children_and_theirs_count_without_the_named_program(tmp_path: Path) -> None:
    for number, parent, ticks in [
        (10, 1, 500),
        (11, 10, 20),
        (12, 11, 3),
        (13, 10, 70),
        (14, 13, 9),
    ]:
        process(tmp_path, number, parent, ticks, name="a) (b")
    process(tmp_path, 20, 1, 900)
    (tmp_path / "self").mkdir()
    (tmp_path / "15").mkdir()  # ended between two readings
    tick_ns = clock_tick.tick_ns()
    assert cpu_time.descendants_ns(10, folder=tmp_path) == (21 + 4 + 71 + 10) * tick_ns
    assert cpu_time.descendants_ns(10, apart=13, folder=tmp_path) == (21 + 4) * tick_ns
    assert cpu_time.descendants_ns(12, folder=tmp_path) == 0
    assert cpu_time.descendants_ns(10, folder=tmp_path / "absent") == 0
