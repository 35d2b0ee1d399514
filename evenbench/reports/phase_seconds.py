"""Seconds of the phases of a recorded cell: the median over its processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenbench.harness.statistics import estimates


def medians(record: Mapping[str, Any]) -> dict[str, float]:
    """Return phase (or `import`) → median seconds; phases that never ran are left out."""
    recorded = {"import": record.get("import_seconds"), **(record.get("phases_seconds") or {})}
    known = {
        phase: [seconds for seconds in processes or [] if seconds is not None]
        for phase, processes in recorded.items()
    }
    return {phase: estimates.median(values) for phase, values in known.items() if values}
