"""The progress of a measurement in pytest's terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evenbench.harness.runner.schedule import Event


class Progress:
    """Shows a line per step with -v, one rewritten line on a terminal, and nothing elsewhere."""

    def __init__(self, config: pytest.Config) -> None:
        self.reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self.capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self.verbose = config.get_verbosity() > 0

    @contextlib.contextmanager
    def shown(self) -> Iterator[Callable[[Event], None]]:
        """A listener for events. After the block, pytest's own line continues."""
        if self.reporter is None or not (
            self.verbose or (self.reporter.isatty and self.reporter.verbosity == 0)
        ):
            yield lambda event: None
            return
        with (
            self.capture.global_and_fixture_disabled() if self.capture else contextlib.nullcontext()
        ):
            self.reporter.ensure_newline()
            yield self._show
            if not self.verbose:
                self.reporter.rewrite("", erase=True)
                self.reporter.rewrite("")

    def _show(self, event: Event) -> None:
        if self.verbose and event.kind == "round":
            return  # dozens per sweep: only for a line that is rewritten
        text = f"evenbench {event.steps}/{event.total} {event.kind} {event.text}"
        if event.record is not None:
            text += f": {event.record['outcome']}"
        if self.verbose:
            self.reporter.write_line(text)
        else:
            self.reporter.rewrite(text, erase=True)
