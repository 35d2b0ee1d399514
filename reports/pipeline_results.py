"""Recorded pipeline results: stage times, frame rates and delays, for pages and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.core.pipeline_terms import AFTER, HELD, INFERENCE, PACED, SEQUENTIAL, STAGES, WHOLE
from harness.statistics import estimates
from harness.statistics.estimates import Estimate

if TYPE_CHECKING:
    Line = Mapping[str, Any]

ORDER = {WHOLE: 0, AFTER: 1, INFERENCE: 2}
"""What a line covers, the most first: only what covers the same is ranked by its rate."""

COVERED = {
    INFERENCE: "inference and fetching alone",
    AFTER: "passes frames by itself, after they are decoded",
}


# -- numbers ---------------------------------------------------------------------------------------


def rate(line: Line, way: str) -> Estimate | None:
    """Frames per second of one way of passing them, over processes; None where it was not measured,
    or the answer is wrong.
    """
    passages = [process[way] for process in line["passages"] if way in process]
    values = [
        passage["frames"] * 1e9 / passage["wall_ns"]
        for passage in passages
        if passage["frames"] and passage["wall_ns"] > 0
    ]
    return estimates.level(values) if values else None


def after(line: Line) -> Estimate | None:
    """Frames per second without decoding where nothing overlaps: what those that decode and those
    that get decoded frames are compared by.

    Frames over the sum of their later stages, over processes; None where a stage was not measured.
    """
    rates = []
    for process in line["passages"]:
        taken = (process.get(AFTER) or process.get(SEQUENTIAL) or {"stages_ns": {}})["stages_ns"]
        later = [taken[stage] for stage in STAGES[1:] if taken.get(stage)]
        if len(later) == len(STAGES) - 1:
            rates.append(len(later[0]) * 1e9 / max(1, sum(map(sum, later))))
    return estimates.level(rates) if rates else None


def stage_ns(line: Line, stage: str) -> float | None:
    """How long a stage of a frame takes where nothing overlaps: the level over processes of the
    median over frames.
    """
    way = line["covers"] if line["covers"] in COVERED else SEQUENTIAL
    laps = [
        process[way]["stages_ns"].get(stage, []) for process in line["passages"] if way in process
    ]
    values = [max(1.0, value) for value in estimates.process_values(laps)]
    return estimates.level(values).value if values else None


def dropped(line: Line, way: str = PACED) -> tuple[int, int] | None:
    """How many frames were dropped at the target rate, and of how many, over all processes; None
    where it was not measured that way.
    """
    passages = [process[way] for process in line["passages"] if way in process]
    lost = sum(len(passage["dropped"]) for passage in passages)
    return (lost, lost + sum(passage["frames"] for passage in passages)) if passages else None


def delay_ns(line: Line, way: str = PACED) -> float | None:
    """From a frame's moment until it was drawn, at the target rate: the level over processes of the
    median.
    """
    delays = [process[way]["delays_ns"] for process in line["passages"] if way in process]
    values = [max(1.0, value) for value in estimates.process_values(delays)]
    return estimates.level(values).value if values else None


# -- words -----------------------------------------------------------------------------------------


def has_held(lines: Sequence[Line]) -> bool:
    """Whether anything was measured of frames that were decoded before the clock started, and had
    several in flight.
    """
    return any(HELD in process for line in lines for process in line["passages"])


def name_of(line: Line) -> str:
    """The backend, of which a run has one cell."""
    return str(line["cell"]["backend"])
