"""Notes on pipelines: disturbances, and limits of comparison between runtimes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evenbench.harness.core import clock_tick, thresholds
from evenbench.harness.core.pipeline_terms import AFTER_DECODING, INFERENCE, SEQUENTIAL
from evenbench.reports import formatting
from evenbench.reports.pipeline_results import Line, name_of, rate, stages_ns

UNEVEN = 1.5
"""Limit of mean over median frame time; a larger ratio means a disturbance or a stall."""


def notes(lines: Sequence[Line]) -> list[str]:
    """Return every note once, with the names of its runtimes."""
    names_by_note: dict[str, list[str]] = {}
    for line in lines:
        for note in (*_disturbances(line), *_restrictions(line)):
            names_by_note.setdefault(note, []).append(name_of(line))
    listed = [f"{formatting.listing(names)}: {note}" for note, names in names_by_note.items()]
    if any(len(line["passages"]) == 1 for line in lines):
        listed.append(
            "One process each: differences between runtimes may be chance. "
            "--plan default takes three."
        )
    return listed


def _disturbances(line: Line) -> Iterator[str]:
    blocks = [passage["block"] for process in line["passages"] for passage in process.values()]
    wall = sum(block["wall_ns"] for block in blocks)
    tick_ns = clock_tick.recorded_tick_ns(line["environment"])
    stolen = sum(block["steal_ticks"] for block in blocks) * tick_ns
    if wall and stolen > thresholds.STEAL_CORES * wall:
        yield f"the hypervisor took {100 * stolen / wall:.0f} % of a core's time meanwhile."
    sequential = rate(line, SEQUENTIAL)
    median_ns = sum(value or 0.0 for value in stages_ns(line).values())
    if sequential and 1e9 / sequential.value > UNEVEN * median_ns:
        ratio = 1e9 / sequential.value / median_ns
        yield (
            f"the mean frame took {ratio:.1f} times the median frame, because of a disturbance "
            "or of stalls in the pipeline; the rates hold for this run only."
        )


def _restrictions(line: Line) -> Iterator[str]:
    if line["outcome"] != "ok":
        return
    if line["covers"] == INFERENCE and line.get("alone_because"):
        yield f"inference and fetching alone: {line['alone_because']}."
    if line["covers"] == AFTER_DECODING:
        yield (
            "frames arrive decoded, in a program with its own loop: compare frames per second "
            "after decoding only. The program draws no names and no scores."
        )
    if line.get("not_held_because"):
        yield f"no frames in flight after decoding: {line['not_held_because']}."
