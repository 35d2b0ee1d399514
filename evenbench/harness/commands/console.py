"""The rich console of all commands, and the line with the current step."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

QUIET_SECONDS = 15.0
"""Least time between two plain lines on the current step, without a terminal."""

HEARTBEAT_SECONDS = 60.0
"""Time between two plain lines on a long preparation, without a terminal."""


PIPE_WIDTH = 200
"""Width of tables in files and pipes, wide enough for lines without folds."""


def console(stderr: bool = False) -> Console:
    """Return a console as wide as the terminal, or PIPE_WIDTH columns in a file or pipe.

    FORCE_COLOR adds colours to a file or pipe, and nothing that only a terminal can show.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Console(stderr=stderr, highlight=False)
    return Console(stderr=stderr, highlight=False, width=PIPE_WIDTH, force_interactive=False)


class StatusLine:
    """A bar with the current step on a terminal; elsewhere a plain line now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = _bar(console) if console.is_interactive else None
        self._task: Any = None
        self._last_line = -math.inf
        self._last_text = ""
        self._clock: Clock | None = None

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Show the bar."""
        if self.bar:
            self._task = self.bar.add_task("", total=None, left="")
            self.bar.start()

    def stop(self) -> None:
        """Remove the bar."""
        if self._clock:
            self._clock.stop()
        if self.bar:
            self.bar.stop()

    def show(
        self, text: str, done: int, total: int | None, left: str = "", moving: bool = False
    ) -> None:
        """Update the bar, if any.

        While `moving`, a clock runs and a mark turns; never while something is timed.
        """
        if self._clock and (not moving or text != self._clock.text):
            self._clock.stop()
            self._clock = None
        if moving and not self._clock:
            self._clock = (
                Clock(text, self._tick)
                if self.bar
                else Clock(text, self._print_again, HEARTBEAT_SECONDS, marks="")
            )
        if self.bar:
            self.bar.update(
                self._task, completed=done, total=total, description=text, left=left, refresh=True
            )

    def print_seldom(self, text: str, urgent: bool = False) -> None:
        """Print a plain line without a terminal: if urgent, or after a quiet time.

        No line is printed twice in a row.
        """
        if self.bar or text == self._last_text:
            return
        if urgent or time.monotonic() - self._last_line > QUIET_SECONDS:
            self.be_quiet()
            self._last_text = text
            self.console.print(text, soft_wrap=True, markup=False)

    def be_quiet(self) -> None:
        """Start the quiet time: the user has just seen a line."""
        self._last_line = time.monotonic()

    def _print_again(self, text: str) -> None:
        self.be_quiet()
        self.console.print(f"still {text}", soft_wrap=True, markup=False)

    def _tick(self, text: str) -> None:
        if self.bar:
            self.bar.update(self._task, description=text, refresh=True)


class Clock:
    """Calls `show` with a turning mark (if any), a text and its elapsed seconds, until stopped.

    A thread: it wakes this process up, so it runs only while nothing is timed.
    """

    MARKS = "◐◓◑◒"

    def __init__(
        self, text: str, show: Callable[[str], None], every: float = 0.5, marks: str = MARKS
    ) -> None:
        self.text = text
        self._show, self._every, self._marks = show, every, marks
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        began, turns = time.monotonic(), 0
        while not self._ended.wait(self._every):
            elapsed = round(time.monotonic() - began)
            mark = f"{self._marks[turns % len(self._marks)]} " if self._marks else ""
            self._show(f"{mark}{self.text} ({elapsed} s)")
            turns += 1

    def stop(self) -> None:
        """End the thread, and wait until it has."""
        self._ended.set()
        self._thread.join()


def _bar(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    now = TextColumn(
        "[dim]{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
    )
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", style="cyan"),
        now,
    )
    return Progress(*columns, console=console, auto_refresh=False, transient=True, expand=True)
