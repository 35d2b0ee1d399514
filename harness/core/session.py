"""A network loaded in a process: the verbs that timing is derived from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core.errors import Unsupported
from harness.core.measurements import Attestation

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

Now = Callable[[], int]
"""A clock: integer nanoseconds from an arbitrary start."""


@dataclass(frozen=True)
class Laps:
    """What a session that times itself returns: laps in integer nanoseconds, and the outputs kept,
    by lap number.
    """

    laps_ns: list[int]
    kept: Mapping[int, Arrays] = field(default_factory=dict)
    inner_ns: list[int] = field(default_factory=list)
    """The same laps by the session's inner clock, where it has one."""


@dataclass(frozen=True)
class Usage:
    """What a process has used since it started: CPU time in ns, involuntary context switches, page
    faults, peak resident bytes; and its number, or 0 where that is not known."""

    peak_rss_bytes: int
    cpu_ns: int
    preemptions: int
    minor_faults: int
    major_faults: int
    process_id: int = 0


class ProgramEnded(RuntimeError):
    """A program of the session's own ended before it answered. `signal` is the name of what ended
    it, or empty where it exited.
    """

    def __init__(self, words: str, signal: str = "") -> None:
        super().__init__(words)
        self.signal = signal


class Session(ABC):
    """A loaded network in this process: bind once, step many times, fetch when someone looks."""

    clock: str = "time.perf_counter_ns"
    """Whose clock times the laps. A session that overrides `laps` names its own here."""
    inner: str = ""
    """The boundary of a second clock that sees each step from within: `device` (events on the
    device) or `native` (inside compiled code that Python calls). Such a session names `inner_clock`
    and overrides `inner_ns`."""
    inner_clock: str = ""
    in_flight: int = 1
    """How many inferences run at once. Where it is more than one, the session overrides `submit`
    and `collected`, and a lap is the mean interval between completions: throughput, which no caller
    waits for."""
    compile_seconds: float = 0.0
    """How long compiling took within `load`, where a runtime compiles in the process that runs;
    booked as a phase of its own.
    """

    @abstractmethod
    def bind(self, inputs: Arrays) -> None:
        """Hand host arrays (C order, read-only, one per declared input, by name) to the runtime."""

    @abstractmethod
    def step(self) -> None:
        """One inference on what is bound. May return before the device is done."""

    def sync(self) -> None:
        """Wait until every step so far is done. Runtimes whose step blocks leave it alone."""

    @abstractmethod
    def fetch(self) -> Arrays:
        """The outputs of the last step, by declared name, as host arrays that nothing will write to
        again.
        """

    @abstractmethod
    def attest(self) -> Attestation:
        """What is really in use, read back from the runtime, never repeated from what was asked."""

    def inner_ns(self) -> int:
        """How long the last step took by `inner_clock`, in nanoseconds. Asked after `sync`, outside
        the harness's clock.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sets inner={self.inner!r} and so must override inner_ns"
        )

    def submit(self, inputs: Arrays, lap: int, keep: bool, copy: bool) -> None:
        """Start one inference as soon as one of the `in_flight` is free; blocks until then. `sync`
        waits for all of them.

        `copy` hands host arrays in and out as a caller would have them; without it inputs may be
        read in place and outputs stay in the runtime, except those of a lap to `keep`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sets in_flight={self.in_flight} and so must override submit"
        )

    def collected(self) -> Mapping[int, Arrays]:
        """The outputs of the laps to keep since it was last asked, by lap number. Asked after
        `sync`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sets in_flight={self.in_flight} and so must override collected"
        )

    def laps(
        self, batches: Sequence[Arrays], count: int, boundary: str, keep: Sequence[int]
    ) -> Laps:
        """`count` laps over the rotating `batches`, timed by the session's own `clock`; `keep`
        names laps to fetch.

        Only where the loop cannot live in Python (a C++ runner); such a session sets `clock` as
        well. All others are timed by `harness.measurement.timing`, which never calls this.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sets clock={self.clock!r} and so must override laps"
        )

    def beside(self) -> Session:
        """Another session on the same loaded network, which a second thread may call while a first
        one calls this: inputs and outputs are its own, weights and pools are shared. Closing it
        leaves this one as it is. Raises Unsupported, in words, where that cannot be.
        """
        raise Unsupported(
            f"{type(self).__name__} does not say that several threads may call one loaded network; a session that may overrides `beside`"
        )

    def builds(self) -> int | None:
        """How many times code was generated in this process so far, for a runtime that may compile
        anew while it runs; None elsewhere.
        """
        return None

    def usage(self) -> Usage | None:
        """Of the process that computes, where it is not this one; None where it is."""
        return None

    def close(self) -> None:
        """Release everything. Called at least once; calling it again does nothing."""
