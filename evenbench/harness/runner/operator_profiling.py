"""Profiles cells operator by operator, each in a process of its own, after all measuring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from evenbench.harness import __version__
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import measurement_lock
from evenbench.harness.results import operator_profiles, records
from evenbench.harness.runner.job import Job, Reply
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Refusal


def run(
    cells: Sequence[Cell],
    results: Path,
    timeout_seconds: float,
    tell: Callable[[str], None],
) -> tuple[list[Path], dict[str, str]]:
    """Profile cells; returns the trace files, and the reason by id for each cell without a profile.

    Traces are written to `profiles/` in the results folder. `tell` gets a line per cell. Raises
    UsageError if another measurement is running.
    """
    preparer = Preparer(timeout_seconds, lambda kind, text: tell(f"{kind} {text}"))
    folder = records.folder(records.folder(results) / operator_profiles.FOLDER)
    files, reasons = [], {}
    with measurement_lock.alone():
        for cell in cells:
            tell(f"profile {cell.id}")
            reply = _profile(preparer, cell, folder)
            if isinstance(reply, Path):
                files.append(reply)
            else:
                reasons[cell.id] = reply.message
    return files, reasons


def profilable(cells: Iterable[Cell]) -> list[Cell]:
    """The cells of the working folder's own code: other commits have workers of their own."""
    return [cell for cell in cells if not cell.side]


def _profile(preparer: Preparer, cell: Cell, folder: Path) -> Path | Reply:
    """Profile a cell into a trace file, or return the reply with the reason."""
    try:
        prepared = preparer.prepare(cell)
    except Refusal as refusal:
        return refusal.reply
    reply = preparer.work(Job("profile", cell, folders=prepared.folders()))
    if reply.value is None:
        return reply
    facts = {
        "evenbench": __version__,
        "time": records.timestamp(),
        "cell": cell.described(),
        "artifact_sha256": prepared.artifact.sha256,
    }
    return operator_profiles.write(folder, operator_profiles.trace(reply.value, facts))
