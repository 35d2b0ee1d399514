"""Types of records about outputs: parity, agreement, accuracy."""

# No `from __future__ import annotations`: `__required_keys__` ignores `NotRequired` in strings.
from typing import Literal, TypedDict


class OutputErrorRecord(TypedDict):
    """`measurements.OutputError`: the error of an output against the golden."""

    name: str
    scale: float
    max_abs: float
    rmse: float
    rmse_own: float | None
    cosine: float
    nonfinite: int
    needed_elementwise: float
    needed_rmse: float | None
    top1_agreement: float | None


class AgreementRecord(TypedDict, total=False):
    """Agreement with the golden: the keys of a single task, and counts of discrete outputs."""

    top1_agreement: float
    top5_overlap: float
    pixel_agreement: float
    miou: float
    classes_seen: int
    worst_cosine: float
    sentences: int
    nearest_agreement: float
    order_agreement: float
    detections: int
    matched: int
    unmatched: int
    on_threshold: int
    worst_box_pixels: float
    worst_box_iou: float
    worst_score_difference: float
    worst_mask_iou: float
    differing_values: int
    tied_indices: int
    constant_outputs: int


class ParityRecord(TypedDict):
    """The parity verdict in an outcome."""

    verdict: Literal["pass", "fail", "degenerate", "too exact"]
    reason: str
    golden: str
    needed: float
    allowed: float
    rtol: float
    atol: float
    rmse_factor: float
    outputs: list[OutputErrorRecord]
    artifact_sha256: str
    input_sha256: str


class JudgementRecord(ParityRecord):
    """`measurements.ParityVerdict`: the verdict on a process, including agreement."""

    agreement: AgreementRecord


class AccuracyRecord(TypedDict):
    """A task metric over `count` labelled samples."""

    metric: str
    value: float
    count: int


class DatasetRecord(TypedDict):
    """The labelled dataset of a run, with all metrics."""

    name: str
    layout: Literal["class folders", "masks", "coco"]
    sha256: str
    classes: str
    metrics: dict[str, float]
    notes: list[str]


class ScoreRecord(TypedDict):
    """The scores of a cell on the labelled dataset."""

    accuracy: AccuracyRecord
    dataset: DatasetRecord
