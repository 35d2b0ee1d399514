"""A network loaded in a process: the verbs behind all timing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.errors import Unsupported
from evenbench.harness.core.measurements import Attestation

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

Now = Callable[[], int]
"""A clock: integer nanoseconds from an arbitrary start."""


@dataclass(frozen=True)
class Laps:
    """Times of laps in integer nanoseconds, and kept outputs by lap number.

    `Session.laps` numbers laps from 0, `timing.run_laps` from the argument `first`.
    """

    laps_ns: list[int]
    kept: Mapping[int, Arrays] = field(default_factory=dict)
    inner_ns: list[int] = field(default_factory=list)
    """The same laps by the session's inner clock, if any."""


@dataclass(frozen=True)
class Usage:
    """Resources used by a process since its start, and its process id (0 if unknown).

    CPU time in ns, involuntary context switches, page faults, and peak resident bytes.
    """

    peak_rss_bytes: int
    cpu_ns: int
    preemptions: int
    minor_faults: int
    major_faults: int
    process_id: int = 0


class ProgramEnded(Exception):
    """A session's program ended before replying. `signal` names the signal; empty after an exit.

    Not a RuntimeError: a loader reads refusals from RuntimeErrors, and a crash is no refusal.
    """

    def __init__(self, words: str, signal: str = "") -> None:
        super().__init__(words)
        self.signal = signal


class Session(ABC):
    """A loaded network in this process: bind once, step many times, fetch on demand."""

    clock: str = "time.perf_counter_ns"
    """The clock of the laps. A session with its own `laps` names another clock."""
    inner: str = ""
    """The boundary of a second clock within each step.

    Either `device` (events on the device) or `native` (compiled code under Python). Requires
    `inner_clock` and an override of `inner_ns`.
    """
    inner_clock: str = ""
    in_flight: int = 1
    """The number of concurrent inferences.

    Above 1, the session overrides `submit` and `collected`, and a lap is the mean interval between
    completions: throughput, not the latency of a caller.
    """
    compile_seconds: float = 0.0
    """Compile time within `load`, recorded as a separate phase.

    Zero for runtimes with compilation in prepare.
    """

    @abstractmethod
    def bind(self, inputs: Arrays) -> None:
        """Give host arrays to the runtime: C order, read-only, one per declared input, by name."""

    @abstractmethod
    def step(self) -> None:
        """Run one inference on the bound inputs. May return before the device finishes."""

    def sync(self) -> None:
        """Wait for all steps so far. Runtimes with a blocking step need no override."""

    @abstractmethod
    def fetch(self) -> Arrays:
        """The outputs of the last step, by declared name, as host arrays that stay unchanged."""

    @abstractmethod
    def attest(self) -> Attestation:
        """Facts read back from the runtime, never copied from the request."""

    def inner_ns(self) -> int:
        """The last step's duration by `inner_clock`, in ns. Called after `sync`, outside laps."""
        raise NotImplementedError(
            f"{type(self).__name__} sets inner={self.inner!r} and so must override inner_ns"
        )

    def submit(self, inputs: Arrays, lap: int, keep: bool, copy: bool) -> None:
        """Start one inference, blocking while `in_flight` inferences run. `sync` waits for all.

        With `copy`, host arrays are copied in and out as for a caller. Without, inputs may be read
        in place, and outputs stay in the runtime, except for a lap to `keep`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sets in_flight={self.in_flight} and so must override submit"
        )

    def collected(self) -> Mapping[int, Arrays]:
        """Outputs of kept laps since the last call, by lap number. Called after `sync`."""
        raise NotImplementedError(
            f"{type(self).__name__} sets in_flight={self.in_flight} and so must override collected"
        )

    def laps(
        self, batches: Sequence[Arrays], count: int, boundary: str, keep: Sequence[int]
    ) -> Laps:
        """Time `count` laps over rotating `batches` by the session's own `clock`.

        `keep` lists the laps with outputs to fetch, numbered from 0 as in the result's `kept`. The
        sum of the times must not exceed the wall time of this call. Override together with `clock`,
        and only for a loop outside of Python (a C++ runner). All other sessions are timed by
        `harness.measurement.timing`, without this method.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sets clock={self.clock!r} and so must override laps"
        )

    def beside(self) -> Session:
        """Another session on the same loaded network, for concurrent calls from a second thread.

        Inputs and outputs are separate; weights and pools are shared. Closing the new session
        leaves this session intact. Raises Unsupported, with the reason, for runtimes without shared
        networks.
        """
        raise Unsupported(
            f"{type(self).__name__} does not support several threads on one loaded network; "
            "override `beside` to add support"
        )

    def builds(self) -> int | None:
        """Code generations in this process so far; None for runtimes without recompilation."""
        return None

    def usage(self) -> Usage | None:
        """Resource usage of the session's program; None for a session within this process."""
        return None

    def close(self) -> None:
        """Release everything. Called at least once; further calls do nothing."""
