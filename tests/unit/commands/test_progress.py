"""The line with the current step: a clock runs while cells are prepared, and never while timed."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from evenbench.harness.commands import console, progress
from evenbench.harness.core.plans import PLANS


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


def test_a_pipe_gets_a_line_now_and_then_in_a_long_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "HEARTBEAT_SECONDS", 0.01)
    file = io.StringIO()
    with console.StatusLine(Console(file=file)) as status:
        status.show("preparing m", 0, 4, moving=True)
        until = time.monotonic() + 10
        while "still" not in file.getvalue() and time.monotonic() < until:
            time.sleep(0.01)
        assert file.getvalue().startswith("still preparing m (0 s)\n")
        status.show("measuring m", 1, 4)
        assert status._clock is None, "no thread wakes up while something is timed"


def test_no_line_is_printed_twice_in_a_row() -> None:
    file = io.StringIO()
    status = console.StatusLine(Console(file=file))
    for text in ("preparing m", "preparing m", "preparing n"):
        status.print_seldom(text, urgent=True)
    assert file.getvalue() == "preparing m\npreparing n\n"


def test_time_and_disk_are_said_before_anything_starts() -> None:
    said = progress.expected(PLANS["default"], 60)
    assert said.startswith("expected: about 9 min of measuring, after the preparation")
    assert "B of disk are free" in said
