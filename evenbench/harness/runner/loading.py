"""Members loaded beside others, and their records without the figures of a cold start.

Nothing is timed during loading. Processes loaded alone keep the figures of a cold start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from evenbench.harness.environment import cpu
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.launcher import Worker
from evenbench.harness.runner.resident_member import Resident
from evenbench.harness.runner.sweep import Part

SLOTS = 2
"""Members that load at a time, if the machine has as many cores."""


def slots(parts: Sequence[Part]) -> int:
    """How many of the parts may load at a time: 1 if any has not loaded alone yet.

    Parts on devices load alone, because each measures its device memory, and cells of other sides
    too, because older code does not pause.
    """
    eligible = all(
        part.start_seconds and part.cell.device == "cpu" and not part.cell.side for part in parts
    )
    return min(SLOTS, cpu.cores()) if eligible else 1


def resident(worker: Worker, complete: Callable[[Reply], Reply]) -> Resident:
    """A pausing worker; its record has no cold start."""
    return Resident(
        worker, lambda reply: complete(_without_start(reply)), worker.advance, worker.deadline
    )


def _without_start(reply: Reply) -> Reply:
    """The reply without the times of import, load, compilation and first step."""
    if reply.value is None:
        return reply
    phases = dict(reply.value["phases_seconds"])
    for phase in ("load", "compile", "first_step"):
        phases.pop(phase, None)
    unknown = dict.fromkeys(("import_seconds", "cold_start_seconds"))
    return replace(reply, value={**reply.value, **unknown, "phases_seconds": phases})
