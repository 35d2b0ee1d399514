"""The phases of a measured process, with the time of each phase and the phase of an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PhaseError(Exception):
    """An error with the name of the phase that raised the error."""

    def __init__(self, phase: str, error: BaseException) -> None:
        super().__init__(str(error))
        self.phase = phase
        self.error = error


class Stopwatch:
    """Seconds by phase. An exception inside a phase becomes a `PhaseError`.

    `enter` is called with a phase's name at the beginning of the phase.
    """

    def __init__(self, enter: Callable[[str], None] = lambda phase: None) -> None:
        self.seconds: dict[str, float] = {}
        self.enter = enter

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block as the phase `name`; repeated phases add up."""
        self.enter(name)
        begin = time.perf_counter()
        try:
            yield
        except Exception as error:
            raise PhaseError(name, error) from error
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
