"""Numbers of recorded pipeline lines: frame rates, stage times, dropped frames and delays.

A line covers the pipeline in `modes`, recorded under their names in `harness.core.pipeline_terms`.
All numbers are None for a mode without a measurement, and for an incorrect output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.harness.core.pipeline_terms import (
    AFTER_DECODING,
    INFERENCE,
    PACED,
    PREDECODED,
    SEQUENTIAL,
    STAGES,
    WHOLE,
)
from evenbench.harness.statistics import estimates
from evenbench.harness.statistics.estimates import Estimate
from evenbench.harness.statistics.words import FASTER
from evenbench.reports import run_verdicts

Line = Mapping[str, Any]

ORDER = {WHOLE: 0, AFTER_DECODING: 1, INFERENCE: 2}
"""Coverage of a line, most stages first. Rates rank lines of the same coverage only."""

COVERED = {
    INFERENCE: "inference and fetching alone",
    AFTER_DECODING: "processes decoded frames in its own loop",
}
"""Descriptions of lines without a whole pipeline."""


def name_of(line: Line) -> str:
    """Return the name of the backend; a run has one cell per backend."""
    return str(line["cell"]["backend"])


def rate(line: Line, mode: str) -> Estimate | None:
    """Return frames per second in a mode, over processes."""
    passages = [process[mode] for process in line["passages"] if mode in process]
    values = [
        passage["frames"] * 1e9 / passage["wall_ns"]
        for passage in passages
        if passage["frames"] and passage["wall_ns"] > 0
    ]
    return estimates.level(values) if values else None


def after(line: Line) -> Estimate | None:
    """Return sequential frames per second excluding decoding, over processes.

    Compares Python pipelines with C++ programs, which receive decoded frames. Computed as frames
    over the sum of all later stages; None if a stage was not measured.
    """
    rates = []
    for process in line["passages"]:
        passage = process.get(AFTER_DECODING) or process.get(SEQUENTIAL) or {"stages_ns": {}}
        stages_ns = passage["stages_ns"]
        later = [stages_ns[stage] for stage in STAGES[1:] if stages_ns.get(stage)]
        if len(later) == len(STAGES) - 1:
            rates.append(len(later[0]) * 1e9 / max(1, sum(map(sum, later))))
    return estimates.level(rates) if rates else None


def stage_ns(line: Line, stage: str) -> float | None:
    """Return the time of a stage without overlap, in nanoseconds.

    The level over processes of the median over frames.
    """
    mode = line["covers"] if line["covers"] in COVERED else SEQUENTIAL
    laps = [
        process[mode]["stages_ns"].get(stage, []) for process in line["passages"] if mode in process
    ]
    values = [max(1.0, value) for value in estimates.process_values(laps)]
    return estimates.level(values).value if values else None


def stages_ns(line: Line) -> dict[str, float | None]:
    """Return the time of every stage without overlap, in nanoseconds."""
    return {stage: stage_ns(line, stage) for stage in STAGES}


def dropped(line: Line, mode: str = PACED) -> tuple[int, int] | None:
    """Return (dropped frames, all frames) at the target rate, over all processes."""
    passages = [process[mode] for process in line["passages"] if mode in process]
    lost = sum(len(passage["dropped"]) for passage in passages)
    return (lost, lost + sum(passage["frames"] for passage in passages)) if passages else None


def delay_ns(line: Line, mode: str = PACED) -> float | None:
    """Return the delay from arrival to drawing at the target rate, in nanoseconds.

    The level over processes of the median over frames.
    """
    delays = [process[mode]["delays_ns"] for process in line["passages"] if mode in process]
    values = [max(1.0, value) for value in estimates.process_values(delays)]
    return estimates.level(values).value if values else None


def has_predecoded(lines: Sequence[Line]) -> bool:
    """Return whether any line was measured with decoded frames in memory, several in flight."""
    return any(PREDECODED in process for line in lines for process in line["passages"])


def not_apart(best: Line, others: Sequence[Line], mode: str) -> list[Line]:
    """Return the lines without a proven disadvantage to `best`.

    By the ratio of wall times, paired by sweep, corrected for the number of lines.
    """
    pairs = [(_walls(line, mode), _walls(best, mode)) for line in others]
    words = [comparison.word for comparison in run_verdicts.compared(pairs)]
    return [line for line, word in zip(others, words, strict=True) if word != FASTER]


def _walls(line: Line, mode: str) -> dict[str, dict[int, float]]:
    """The wall time of each process as a sweep of one round."""
    return {
        str(number): {0: float(process[mode]["wall_ns"])}
        for number, process in enumerate(line["passages"])
        if mode in process and process[mode]["wall_ns"] > 0
    }


def frame_count(lines: Sequence[Line]) -> int:
    """Return the number of processed frames; the length of the video if no frame was processed.

    Lines with inference alone don't count: they repeat the judged frames.
    """
    passages = [
        passage
        for line in lines
        if line["covers"] != INFERENCE
        for process in line["passages"]
        for passage in process.values()
    ]
    return max(
        (passage["frames"] for passage in passages), default=int(lines[0]["video"]["frames"])
    )
