"""Two recorded runs side by side: a ratio without a verdict, since nothing measured them together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import results
from harness.ending import change_words
from harness.sides import NothingToCompare
from harness.types import UsageError

if TYPE_CHECKING:
    from rich.console import Console

MATTERS = ("cpu", "cpu_flags", "cores", "arch", "governor", "turbo_off", "smt", "python", "memory_bytes")
"""The facts of the environment in which two recorded runs must agree; the packages are compared as well."""


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In words, what of the machine and its packages differs between two results' environments."""
    found = [f"{name}: {one.get(name)} against {other.get(name)}" for name in MATTERS if one.get(name) != other.get(name)]
    packages = [found.get("packages") or {} for found in (one, other)]
    return found + [
        f"{name} {packages[0].get(name, 'absent')} against {packages[1].get(name, 'absent')}"
        for name in sorted({*packages[0], *packages[1]})
        if name != "evenbench" and packages[0].get(name) != packages[1].get(name)
    ]


def compared(base: str, head: str, anyway: bool = False) -> list[dict[str, Any]]:
    """Cell by cell, the ratio of two recorded runs' levels, without a verdict that pairs alone could give.

    Welch's interval of the difference of mean log medians over processes, at 99 %. Raises UsageError where nothing matches, or
    where the environments differ and `anyway` does not say to go on.
    """
    lines = [_lines(text) for text in (base, head)]
    shared = [key for key in lines[1] if key in lines[0]]
    if not shared:
        raise NothingToCompare(f"{base} and {head} share no cell; were they measured from other models or options?")
    found = []
    for key in shared:
        one, other = lines[0][key], lines[1][key]
        differ = [*_schemas(one, other), *differences(one["environment"], other["environment"])]
        if differ and not anyway:
            raise UsageError(
                f"{base} and {head} were not measured alike ({'; '.join(differ[:4])}); compare the commits in pairs, "
                "or see both side by side with --anyway"
            )
        found.append({"cell": one["cell"]["id"], "outcomes": [one["outcome"], other["outcome"]], "differ": differ, **_unpaired(one, other)})
    return found


def _lines(text: str) -> dict[str, results.Record]:
    """The latest outcome of each cell. Raises UsageError where there is none that this version reads."""
    reading = results.read([Path(text)])
    if not reading.lines:
        why = f": {'; '.join(reading.notes[:3])}" if reading.notes else ""
        raise UsageError(f"{text} holds no outcome that can be compared{why or '; record one with `evenbench run`'}")
    return results.latest(reading.lines)


def _schemas(one: results.Record, other: results.Record) -> list[str]:
    """A key may mean something else under another schema."""
    found = [line["schema"] for line in (one, other)]
    return [f"schema: {found[0]} against {found[1]}"] if found[0] != found[1] else []


def _unpaired(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    from harness.statistics import process_values
    from harness.types import COMPUTE

    values = [process_values(line["samples_ns"].get(COMPUTE, [])) for line in (one, other)]
    if any(line["outcome"] != "ok" for line in (one, other)) or min(map(len, values)) < 2:
        return {"ratio": None, "low": None, "high": None, "processes": [len(each) for each in values]}
    from scipy import stats

    logs = [[math.log(value) for value in each] for each in values]
    test = stats.ttest_ind(logs[1], logs[0], equal_var=False)
    interval = test.confidence_interval(0.99)
    centre = sum(logs[1]) / len(logs[1]) - sum(logs[0]) / len(logs[0])
    low, high = (math.exp(min(bound, 50.0)) for bound in interval)
    return {"ratio": math.exp(centre), "low": low, "high": high, "processes": [len(each) for each in values]}


def show(found: Sequence[Mapping[str, Any]], console: Console) -> None:
    """The levels' ratios, and what they are worth."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("cell", "head over base, 99 %, unpaired", "processes", "measured alike"):
        table.add_column(column, overflow="fold")
    for cell in found:
        change = "-" if cell["ratio"] is None else change_words(cell)
        table.add_row(cell["cell"], change, " and ".join(map(str, cell["processes"])), "; ".join(cell["differ"]) or "yes")
    console.print(table)
    console.print(
        "Two recorded runs were not measured side by side: whatever drifted between them is in the ratio, and the interval cannot "
        "see it. No verdict is given; `evenbench compare` of the commits, in pairs, gives one.",
        soft_wrap=True,
    )
