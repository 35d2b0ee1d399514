"""The phases of a measured process: how long each took, and in which one an error was raised."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PhaseError(Exception):
    """An error with the name of the phase in which it was raised."""

    def __init__(self, phase: str, error: BaseException) -> None:
        super().__init__(str(error))
        self.phase = phase
        self.error = error


class Stopwatch:
    """Seconds by phase. An exception inside a phase leaves it as a `PhaseError`.

    `enter` is called with the name of each phase as it begins.
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
