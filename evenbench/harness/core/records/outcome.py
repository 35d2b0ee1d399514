"""Types of JSON records: messages between processes, and lines of a results file.

`results.schema.json` is the published schema of `OutcomeRecord`; a test compares the keys of both.
`NotRequired` marks keys absent from lines of earlier versions. Documentation of every key:
docs/reference/results-file.md.
"""

# No `from __future__ import annotations`: `__required_keys__` ignores `NotRequired` in strings.
from typing import Any, Literal, NotRequired, TypedDict

from evenbench.harness.core.records.environment import (
    EnergyRecord,
    EnvironmentRecord,
    GpuRecord,
    InstallationRecord,
    LimitRecord,
    MachineLoadRecord,
    ProcessEnergyRecord,
)
from evenbench.harness.core.records.parity import (
    AccuracyRecord,
    AgreementRecord,
    DatasetRecord,
    JudgementRecord,
    ParityRecord,
    ScoreRecord,
)
from evenbench.harness.core.records.sampling import BlockRecord, InterleavingRecord, WarmUpRecord

Outcome = Literal["ok", "mismatch", "fallback", "unsupported", "unavailable", "failed"]
Stability = Literal["stable", "unstable", "capped"]


class RunRecord(TypedDict):
    """The run of an outcome."""

    id: str
    started: str
    plan: str
    processes: int
    seed: int
    evenbench: str


class CellRecord(TypedDict):
    """`Cell.described`."""

    id: str
    key: str
    group: str
    model: str
    backend: str
    precision: str
    device: str
    batch: int
    threads: int
    options: dict[str, Any]
    input_shapes: NotRequired[dict[str, list[int | str]]]
    side: NotRequired[str]


class AgainstRecord(TypedDict):
    """`cases.Against`: another side of a run, with the files of the project's modules."""

    side: str
    cell: str
    key: str
    commit: str
    origins: dict[str, str]


class ThenRecord(TypedDict):
    """A past measurement of the cell, in other results: `compute_ns` is a median per process."""

    results: str
    run: str
    time: str
    outcome: Outcome
    compute_ns: list[float]
    differ: list[str]


class AttestationRecord(TypedDict):
    """`measurements.Attestation`: a runtime's report about itself."""

    runtime: str
    version: str
    device: str
    precision: str
    threads: int
    denormals: str
    spinning: str
    providers: list[str]
    placement: dict[str, int]
    emulated: str
    labels: list[str]
    details: dict[str, Any]


class InputsRecord(TypedDict):
    """The input batches; inputs of other makers add keys."""

    recipe: str
    names: list[str]
    batches: int
    expected_batches: NotRequired[int]


CalibrationRecord = TypedDict("CalibrationRecord", {"from": str, "sha256": str})
"""Origin and hash of the samples behind the ranges of int8-static."""


class ArtifactRecord(TypedDict):
    """The prepared artifact."""

    bytes: int
    facts: dict[str, Any]


class WeightsRecord(TypedDict):
    """The source of the model's weights; some sources add keys."""

    source: Literal["none", "pretrained", "seeded", "trained", "own", "file"]
    sha256: str
    note: str


class PrepareRecord(TypedDict):
    """Seconds of prepare, and whether the cache had the artifact."""

    seconds: float
    cached: bool


class MemoryRecord(TypedDict):
    """Peak resident memory of each process."""

    peak_rss_bytes: list[int]


class ProcessRecord(TypedDict):
    """The reply of a measuring process (`measurement.resident.run`)."""

    gpu: GpuRecord | None
    energy: ProcessEnergyRecord
    clock: str
    inner_clock: str
    binding_ns: float | None
    warm_up: WarmUpRecord
    samples_ns: dict[str, list[int]]
    stability: dict[str, Stability]
    blocks: dict[str, list[BlockRecord]]
    interleaving: InterleavingRecord | None
    peak_rss_bytes: int
    steady_rss_bytes: int
    accuracy: AccuracyRecord | None
    parity: JudgementRecord | None
    scored: ScoreRecord | None
    """A `score` callback's own result until the runner replaces it by a `ScoreRecord`."""
    artifact_sha256: str
    input_sha256: str
    attested: AttestationRecord
    asked_is_used: str
    impossible: str
    """The reason for laps that no honest runtime can take, or empty."""
    phases_seconds: dict[str, float]
    installation: InstallationRecord
    variables: dict[str, str]
    machine: MachineLoadRecord
    import_seconds: float | None
    """None, like `cold_start_seconds` and the phases of a start, if others loaded beside it."""
    cold_start_seconds: float | None
    affinity: list[int]


class OutcomeRecord(TypedDict):
    """A line of a results file: the outcome of a cell, with a list entry per process."""

    schema: int
    run: RunRecord
    time: str
    case: str
    cell: CellRecord
    role: Literal["runtime", "control", "golden", "negative"]
    outcome: Outcome
    phase: str
    reason: str
    traceback: str
    signal: str
    hint: str
    samples_ns: dict[str, list[list[int]]]
    stability: dict[str, list[Stability]]
    blocks: dict[str, list[list[BlockRecord]]]
    clock: str
    inner_clock: str
    binding_ns: list[float]
    gpu: list[GpuRecord]
    warm_up: list[WarmUpRecord]
    phases_seconds: dict[str, list[float]]
    import_seconds: list[float]
    process_seconds: list[float]
    memory: MemoryRecord
    parity: ParityRecord | None
    accuracy: AccuracyRecord | None
    attested: AttestationRecord | None
    labels: list[str]
    input_sha256: str
    inputs: InputsRecord | None
    artifact_sha256: str
    artifact: ArtifactRecord | None
    weights: WeightsRecord | None
    prepare: PrepareRecord | None
    environment: EnvironmentRecord
    reproduce: str
    warnings: list[str]
    interleaving: NotRequired[list[InterleavingRecord | None]]
    """Absent from lines before interleaving; None for a process measured alone."""
    steady_rss_bytes: NotRequired[list[int]]
    energy: NotRequired[EnergyRecord | None]
    agreement: NotRequired[AgreementRecord | None]
    dataset: NotRequired[DatasetRecord | None]
    calibration: NotRequired[CalibrationRecord | None]
    limit: NotRequired[LimitRecord | None]
    against: NotRequired[AgainstRecord]
    """Only in lines of another side of a run."""
    then: NotRequired[ThenRecord]
    """Only in lines of cells with a past result."""
