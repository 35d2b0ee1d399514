"""Whether a cell can run here, and what is missing if it cannot."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.core import registry
from harness.core.cases import Entry
from harness.core.errors import Unavailable, UsageError
from harness.core.types import Cell
from harness.environment import environment_names, gpu

if TYPE_CHECKING:
    pass


def prospects(entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    """What can be said of each cell before it runs: its identity, why it is unsupported, what is
    not installed or not here.
    """
    missing: dict[str, tuple[tuple[str, ...], str, str]] = {}
    lacking = functools.cache(gpu.lacks)
    for entry in entries:
        cell = entry.cell
        if cell.backend not in missing:
            missing[cell.backend] = _missing(cell)
        packages, broken, homeless = missing[cell.backend]
        unsupported = broken or registry.find(cell.backend).supports(cell)
        hint = registry.row(cell.backend).hint if packages else ""
        lacks = "" if unsupported else lacking(cell.device)
        found = {
            "unsupported": unsupported,
            "missing": list(packages),
            "homeless": homeless,
            "hint": hint,
            "lacks": lacks,
        }
        yield {**cell.described(), "case": entry.case, **found}


def _missing(cell: Cell) -> tuple[tuple[str, ...], str, str]:
    """The packages that the cell's backend lacks, what is wrong where its module does not import,
    and where its environment is unknown.
    """
    try:
        backend = registry.find(cell.backend)
        elsewhere = environment_names.request(cell.backend)
    except UsageError as error:
        return (), str(error), ""
    except Unavailable as error:
        return (), "", str(error)
    return (() if elsewhere else backend.missing()), "", ""


def prospect_note(prospect: Mapping[str, Any]) -> str:
    """Why a cell will have no number, in words, or an empty string."""
    if prospect["unsupported"]:
        return f"unsupported: {prospect['unsupported']}"
    if prospect["homeless"]:
        return f"unavailable: {prospect['homeless']}"
    if prospect["missing"]:
        return f"unavailable: {', '.join(prospect['missing'])} not installed; {prospect['hint']}"
    return f"unavailable: {prospect['lacks']}" if prospect["lacks"] else ""
