"""Prospects of cells: can a cell run here, and if not, what is missing?"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import Unavailable, Unsupported, UsageError
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import environment_names, gpu


class Obstacles(NamedTuple):
    """The obstacles of a backend: missing packages, an import error, an unknown environment."""

    packages: tuple[str, ...] = ()
    broken: str = ""
    homeless: str = ""


def prospects(entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    """Yield the prospect of each cell before a run: its identity, the reason for being unsupported,
    missing packages and devices.
    """
    obstacles: dict[str, Obstacles] = {}
    lacking = functools.cache(gpu.lacks)
    judges: dict[tuple[str, int, int], str] = {}

    def unjudged(cell: Cell) -> str:
        key = cell.model.fingerprint, cell.batch, cell.threads
        if key not in judges:
            judges[key] = _unjudged(cell)
        return judges[key] if registry.row(cell.backend).role != "control" else ""

    for entry in entries:
        cell = entry.cell
        if cell.backend not in obstacles:
            obstacles[cell.backend] = _obstacles(cell)
        packages, broken, homeless = obstacles[cell.backend]
        unsupported = broken or registry.find(cell.backend).supports(cell) or unjudged(cell)
        yield {
            **cell.described(),
            "case": entry.case,
            "unsupported": unsupported,
            "missing": list(packages),
            "homeless": homeless,
            "hint": registry.row(cell.backend).hint if packages else "",
            "lacks": "" if unsupported else lacking(cell.device),
        }


def _unjudged(cell: Cell) -> str:
    """The reason against every golden, as `prepare` gives it; empty with a golden."""
    try:
        registry.golden_for(cell)
    except Unsupported as error:
        return str(error)
    return ""


def _obstacles(cell: Cell) -> Obstacles:
    try:
        backend = registry.find(cell.backend)
        environment = environment_names.request(cell.backend)
    except UsageError as error:
        return Obstacles(broken=str(error))
    except Unavailable as error:
        return Obstacles(homeless=str(error))
    return Obstacles(() if environment else tuple(backend.missing()))


def prospect_note(prospect: Mapping[str, Any]) -> str:
    """The reason for a cell having no measurement, or an empty string."""
    if prospect["unsupported"]:
        return f"unsupported: {prospect['unsupported']}"
    if prospect["homeless"]:
        return f"unavailable: {prospect['homeless']}"
    if prospect["missing"]:
        return f"unavailable: {', '.join(prospect['missing'])} not installed; {prospect['hint']}"
    return f"unavailable: {prospect['lacks']}" if prospect["lacks"] else ""
