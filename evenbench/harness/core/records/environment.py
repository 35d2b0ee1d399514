"""Types of the environment's records: the machine, its GPUs, energy, packages, and limits."""

# No `from __future__ import annotations`: `__required_keys__` ignores `NotRequired` in strings.
from typing import Literal, NotRequired, TypedDict


class GpuDeviceRecord(TypedDict):
    """A GPU as described by the driver."""

    name: str | None
    uuid: str | None
    capability: str | None
    driver: str | None
    cuda: str | None
    memory_bytes: float | None
    power_limit_watts: float | None
    max_sm_clock_mhz: float | None
    max_memory_clock_mhz: float | None
    persistence: str | None


class GpuReadingRecord(TypedDict):
    """The GPU's state after one block of laps; `slowed` lists the reasons for lower clocks."""

    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_celsius: float | None
    power_watts: float | None
    slowed: list[str]


class GpuRecord(TypedDict):
    """The GPU of a process, and readings by boundary."""

    device: GpuDeviceRecord
    blocks: dict[str, list[GpuReadingRecord]]


class EnergyReadingRecord(TypedDict):
    """Joules by zone during the timed laps of a process."""

    joules: dict[str, float]
    seconds: float
    laps: int
    by: str


class ProcessEnergyRecord(EnergyReadingRecord):
    """The energy of a process, with the reason for every missing zone."""

    reason: str


class EnergyRecord(TypedDict):
    """The energy of a cell's processes; `reason` explains missing readings."""

    reason: str
    processes: list[EnergyReadingRecord]


class LockRecord(TypedDict):
    """The lock of a backend's own virtual environment."""

    name: str
    python: str
    requirements: list[str]
    packages: list[str]
    by: str
    sha256: str


class GpuSummaryRecord(TypedDict):
    """A GPU in the description of a machine."""

    name: str | None
    capability: str | None
    driver: str | None
    memory_bytes: float | None


class MachineLoadRecord(TypedDict):
    """Load of the machine after a measurement."""

    load_average: float
    cpu_pressure_percent: float | None


class PackagesRecord(TypedDict):
    """The interpreter and its packages."""

    python: str
    packages: dict[str, str]


class InstallationRecord(PackagesRecord):
    """The interpreter, packages and user's modules of a measuring process."""

    origins: dict[str, str]
    """Files of the user's modules by module, relative to the project."""


class EnvironmentRecord(PackagesRecord):
    """The machine and the installation of an outcome."""

    os: str
    arch: str
    cpu: str
    cpu_flags: list[str]
    cores: int
    cores_online: int
    affinity: list[int]
    governor: str
    turbo_off: str
    smt: str
    memory_bytes: int
    commit: str
    steal: float | None
    variables: dict[str, str]
    origins: NotRequired[dict[str, str]]
    """Absent from older lines, and from cells without a measured process."""
    lock: NotRequired[LockRecord | None]
    clock_ticks_per_second: NotRequired[int]
    """Rate of the kernel's clock tick, the unit of steal counters; 100 if absent."""
    load_average: NotRequired[float]
    cpu_pressure_percent: NotRequired[float | None]
    gpus: NotRequired[list[GpuSummaryRecord]]


class LimitRecord(TypedDict):
    """The roofline: the least time of a batch on this machine."""

    flops: int | None
    flops_by_operator: dict[str, int]
    flops_uncounted: dict[str, int]
    least_bytes: int
    library: str
    version: str
    measured: str
    cache_bytes: int | None
    peak_flops_per_second: float | None
    peak_by: str
    bandwidth_bytes_per_second: float | None
    bandwidth_by: str
    least_seconds: float | None
    bound: Literal["", "arithmetic", "memory"]
    reason: str
