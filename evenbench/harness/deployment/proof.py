"""Types of proof.json, the record of a deployment's verification."""

from __future__ import annotations

from typing import Literal, TypedDict

from evenbench.harness.core.records.parity import AccuracyRecord, JudgementRecord


class ProofEnvironment(TypedDict):
    """The fresh environment: installed packages, bytes of all files, and the installer."""

    by: str
    packages: list[str]
    bytes: int


class ProgramSize(TypedDict):
    """The C++ program with its shared libraries; `reason` explains an unknown size."""

    bytes: int | None
    files: list[str]
    reason: str


class ProofBuild(TypedDict):
    """The compiled C++ sources: build tools, bytes of the products, and the program's size."""

    tools: list[str]
    bytes: int
    program_with_libraries: ProgramSize


class ImageSize(TypedDict):
    """The expected size of the Dockerfile's images, with the model inside and mounted."""

    base: str
    base_bytes: int | None
    above_base_bytes: int | None
    mounted_above_base_bytes: int | None
    bytes: int | None
    mounted_bytes: int | None
    reason: str


class ProofRecord(TypedDict, total=False):
    """A verdict and its evidence; a failed proof lacks the later parts."""

    verdict: Literal["proved", "not proved"]
    reason: str
    cell: str
    time: str
    artifact_sha256: str
    input_sha256: str
    program_sha256: str
    environment: ProofEnvironment
    build: ProofBuild
    preprocessing: str
    accuracy: AccuracyRecord | None
    parity: JudgementRecord
    program: JudgementRecord
    seconds: float
    image: ImageSize
