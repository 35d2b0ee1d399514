"""The clock tick: the kernel's on this machine, the recorded rate for a result of another."""

from __future__ import annotations

import os

from evenbench.harness.core import clock_tick


def test_the_tick_is_the_kernels() -> None:
    assert clock_tick.ticks_per_second() == os.sysconf("SC_CLK_TCK")
    assert clock_tick.tick_ns() == 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def test_a_result_is_read_with_its_own_tick() -> None:
    assert clock_tick.recorded_tick_ns({"clock_ticks_per_second": 1000}) == 1_000_000


def test_a_result_without_the_key_has_linuxs_usual_tick() -> None:
    assert clock_tick.recorded_tick_ns({}) == clock_tick.recorded_tick_ns(None) == 10_000_000
