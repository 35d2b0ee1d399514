"""Measured values: artifacts, timed laps, output errors, parity verdicts and attestations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Artifact:
    """What prepare made: a folder in the store and the digest of its files."""

    path: str
    sha256: str
    bytes: int
    seconds: float
    cached: bool
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """What this process and the machine did around some consecutive laps of one boundary.

    `machine_cpu_ns` is the CPU time of all processes together, in steps of the kernel's clock tick,
    0 where it cannot be read. `preemptions` counts involuntary context switches, of which
    passive thread pools cause many themselves.
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
    """Laps of one boundary in one process: integer nanoseconds, raw, in the order in which they
    were taken.
    """

    boundary: str
    clock: str
    laps_ns: tuple[int, ...]
    verdict: Literal["stable", "unstable", "capped"]
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class OutputError:
    """How far one output tensor is from its golden. `needed` is in units of what is allowed: 1.0 is
    exactly the limit.
    """

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
    """Whether the timed outputs are right. Passes when `needed` ≤ `allowed`, where `allowed` is 1.0
    by construction.
    """

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
    """What the task makes of the outputs (`harness.accuracy.agreement`,
    `harness.accuracy.detection_matching`), by name; empty where it says nothing.
    """
    artifact_sha256: str = ""
    input_sha256: str = ""


@dataclass(frozen=True)
class Attestation:
    """What the runtime says it really did, read back after the timed loop. Empty strings and zeros
    mean: not complete.
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
    """In words, where the precision is that of storage and the arithmetic runs in another; empty
    where it is native.
    """
    labels: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
