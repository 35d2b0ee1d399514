"""The line with the current step: a clock runs while cells are prepared, and never while timed."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from evenbench.harness.commands import console, progress
from evenbench.harness.core.plans import PLANS
from evenbench.harness.runner.schedule import Event


def test_the_clock_turns_while_preparing_and_is_gone_before_anything_is_timed() -> None:
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=100)
    status = console.StatusLine(terminal)
    with status:
        status.start()
        status.show("preparing m-ort", 0, 4, moving=True)
        first = status._clock
        assert first is not None
        status.show("preparing m-ort", 1, 4, moving=True)
        assert status._clock is first, "the same step keeps its time"
        status.show("measuring m", 2, 4)
        assert status._clock is None
        assert not first._thread.is_alive()
        before = out.getvalue()
        time.sleep(0.02)
        assert out.getvalue() == before


def test_a_clock_shows_elapsed_seconds_until_stopped() -> None:
    shown: list[str] = []
    clock = console.Clock("preparing m", shown.append, every=0.001)
    end = time.monotonic() + 5
    while len(shown) < 5 and time.monotonic() < end:
        time.sleep(0.001)
    clock.stop()
    count = len(shown)
    assert count >= 5
    assert shown[0] == "◐ preparing m (0 s)"
    assert len({text[0] for text in shown}) == len(console.Clock.MARKS)
    time.sleep(0.01)
    assert len(shown) == count


def test_a_pipe_gets_a_line_now_and_then_while_preparing_and_none_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(console, "HEARTBEAT_SECONDS", 0.01)
    out = io.StringIO()
    with console.StatusLine(Console(file=out)) as status:
        status.print_seldom("preparing m", urgent=True)
        status.print_seldom("preparing m", urgent=True)
        status.show("preparing m", 0, 4, moving=True)
        end = time.monotonic() + 5
        while "still" not in out.getvalue() and time.monotonic() < end:
            time.sleep(0.005)
        status.show("measuring m", 1, 4)
        assert status._clock is None
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["preparing m", "still preparing m (0 s)"]


def test_the_time_left_is_said_from_a_third_of_the_cells_on() -> None:
    estimate = progress.Estimate(PLANS["quick"])
    total = 6 * (1 + PLANS["quick"].processes)

    def remaining(steps: int) -> float | None:
        event = Event("prepare", "", steps, total)
        estimate.hear(event)
        return estimate.remaining(event)

    known = [remaining(steps) is not None for steps in range(4)]
    assert known == [False, False, True, True]


def test_time_and_disk_are_said_before_anything_starts() -> None:
    said = progress.expected(PLANS["default"], 60)
    assert said.startswith("expected: about 9 min of measuring, after the preparation")
    assert "B of disk are free" in said
