"""Measured values: artifacts, timed laps, parity verdicts, attestations, operator profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

IMPOSSIBLE = "impossible: "
"""The beginning of the reason for laps that no honest runtime can take."""


@dataclass(frozen=True)
class Artifact:
    """The result of prepare: a folder in the store and the digest of its files."""

    path: str
    sha256: str
    bytes: int
    seconds: float
    cached: bool
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """Counters of this process and the machine around consecutive laps of a boundary.

    `machine_cpu_ns` is the CPU time of all processes together, in steps of the kernel's clock tick;
    0 if unreadable. `preemptions` counts involuntary context switches, including many caused by
    passive thread pools.
    """

    laps: int
    wall_ns: int
    cpu_ns: int
    preemptions: int
    minor_faults: int
    major_faults: int
    steal_ticks: int
    machine_cpu_ns: int


@dataclass(frozen=True)
class Samples:
    """Laps of a boundary in a process: integer nanoseconds, raw, in order."""

    boundary: str
    clock: str
    laps_ns: tuple[int, ...]
    verdict: Literal["stable", "unstable", "capped"]
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class OutputError:
    """The error of an output tensor against its golden. `needed` is relative: 1.0 is the limit."""

    name: str
    scale: float
    max_abs: float
    rmse: float
    rmse_own: float | None
    cosine: float
    nonfinite: int
    needed_elementwise: float
    needed_rmse: float | None
    top1_agreement: float | None = None


@dataclass(frozen=True)
class ParityVerdict:
    """The verdict on timed outputs: a pass if `needed` ≤ `allowed`, 1.0 by construction."""

    verdict: Literal["pass", "fail", "degenerate", "too exact"]
    reason: str
    golden: str
    needed: float
    allowed: float
    rtol: float
    atol: float
    rmse_factor: float
    outputs: tuple[OutputError, ...] = ()
    agreement: Mapping[str, float] = field(default_factory=dict)
    """Task metrics by name (`harness.accuracy.agreement`, `harness.accuracy.detection_matching`).

    Empty for tasks without metrics.
    """
    artifact_sha256: str = ""
    input_sha256: str = ""


def severity(verdict: str, needed: float) -> tuple[bool, float]:
    """The order of parity verdicts, worst last: any failure after a pass, then by `needed`."""
    return verdict != "pass", needed


@dataclass(frozen=True)
class Attestation:
    """Facts read back from the runtime after the timed loop.

    Empty strings and zeros mean an incomplete attestation.
    """

    runtime: str
    version: str
    device: str
    precision: str
    threads: int
    denormals: str
    spinning: str
    providers: tuple[str, ...] = ()
    placement: Mapping[str, int] = field(default_factory=dict)
    emulated: str = ""
    """The arithmetic's precision, as text, if only storage has the cell's precision; else empty."""
    labels: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OperatorCall:
    """A call of an operator in a profiled inference, named and typed in the runtime's words.

    Times are nanoseconds; `begin_ns` has an arbitrary origin. Calls of one `track` (a thread or a
    stream) are nested or apart. `details` are plain JSON: the provider, the kernel, the precision.
    """

    name: str
    type: str
    begin_ns: float
    duration_ns: float
    track: str = "main"
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OperatorProfile:
    """The runtime's own profile of one inference, the fastest of `PROFILED`: never a timed lap.

    `inference_ns` is the time of the profiled inference as seen by the caller, profiler included.
    `note` says how far the times can be trusted, such as unreported starts.
    """

    profiler: str
    calls: tuple[OperatorCall, ...]
    inference_ns: int
    note: str = ""


PROFILED_AFTER = 10
"""Inferences before the first profiled inference, under the profiler too: a process begins cold."""

PROFILED = 10
"""Profiled inferences; the fastest counts, because another process may disturb any of them."""
