"""Two recorded runs side by side: a ratio without a verdict, since nothing measured them together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.comparison.exit_status import change_words
from harness.comparison.sides import NothingToCompare
from harness.core.errors import UsageError
from harness.results import records
from harness.results.series import MACHINE

if TYPE_CHECKING:
    from rich.console import Console

MATTERS = (*MACHINE, "variables")
"""The facts of the environment in which two recorded runs must agree; packages are compared as
well, and the GPUs of what ran on one.
"""


def differences(one: Mapping[str, Any], other: Mapping[str, Any], device: str = "cpu") -> list[str]:
    """In words, what of the machine and its packages differs between two results' environments."""
    facts = MATTERS if device == "cpu" else (*MATTERS, "gpus")
    found = [
        f"{name}: {one.get(name)} against {other.get(name)}"
        for name in facts
        if one.get(name) != other.get(name)
    ]
    packages = [found.get("packages") or {} for found in (one, other)]
    return found + [
        f"{name} {packages[0].get(name, 'absent')} against {packages[1].get(name, 'absent')}"
        for name in sorted({*packages[0], *packages[1]})
        if name != "evenbench" and packages[0].get(name) != packages[1].get(name)
    ]


def compared(
    base: str, head: str, anyway: bool = False, chosen: Callable[[str, str], bool] | None = None
) -> list[dict[str, Any]]:
    """Cell by cell, the ratio of two recorded runs' levels, without a verdict that pairs alone
    could give.

    Welch's interval of the difference of mean log medians over processes, at 99 %; `half` is half
    its width, relative. `chosen` says of a cell's id and key whether it is asked for. Raises
    NothingToCompare where nothing matches, and UsageError where the environments differ and
    `anyway` does not say to go on.
    """
    lines = [_lines(text) for text in (base, head)]
    both = [key for key in lines[1] if key in lines[0]]
    if not both:
        raise NothingToCompare(
            f"{base} and {head} share no cell; were they measured from other models or options?"
        )
    shared = [key for key in both if chosen is None or chosen(lines[1][key]["cell"]["id"], key)]
    if not shared:
        raise NothingToCompare(
            f"-k and --cell leave none of {len(both)} cells that {base} and {head} share; `evenbench inspect` shows all"
        )
    found = []
    for key in shared:
        one, other = lines[0][key], lines[1][key]
        differ = [
            *_schemas(one, other),
            *differences(
                one["environment"], other["environment"], other["cell"].get("device", "cpu")
            ),
        ]
        if differ and not anyway:
            raise UsageError(
                f"{base} and {head} were not measured alike ({'; '.join(differ[:4])}); compare the commits in pairs, "
                "or see both side by side with --anyway"
            )
        found.append(
            {
                "cell": one["cell"]["id"],
                "outcomes": [one["outcome"], other["outcome"]],
                "differ": differ,
                **_unpaired(one, other),
            }
        )
    return found


def _lines(text: str) -> dict[str, records.Record]:
    """The latest outcome of each cell. Raises UsageError where there is none that this version
    reads.
    """
    reading = records.read([Path(text)])
    if not reading.lines:
        why = f": {'; '.join(reading.notes[:3])}" if reading.notes else ""
        raise UsageError(
            f"{text} holds no outcome that can be compared{why or '; record one with `evenbench run`'}"
        )
    return records.latest(reading.lines)


def _schemas(one: records.Record, other: records.Record) -> list[str]:
    """A key may mean something else under another schema."""
    found = [line["schema"] for line in (one, other)]
    return [f"schema: {found[0]} against {found[1]}"] if found[0] != found[1] else []


def _unpaired(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    from harness.core.types import COMPUTE
    from harness.statistics.estimates import process_values

    values = [process_values(line["samples_ns"].get(COMPUTE, [])) for line in (one, other)]
    if any(line["outcome"] != "ok" for line in (one, other)) or min(map(len, values)) < 2:
        return {
            "ratio": None,
            "low": None,
            "high": None,
            "half": None,
            "processes": [len(each) for each in values],
        }
    from scipy import stats

    logs = [[math.log(value) for value in each] for each in values]
    test = stats.ttest_ind(logs[1], logs[0], equal_var=False)
    interval = test.confidence_interval(0.99)
    centre = sum(logs[1]) / len(logs[1]) - sum(logs[0]) / len(logs[0])
    low, high = (math.exp(max(-50.0, min(bound, 50.0))) for bound in interval)
    half = math.sqrt(high / low) - 1
    return {
        "ratio": math.exp(centre),
        "low": low,
        "high": high,
        "half": half,
        "processes": [len(each) for each in values],
    }


def show(found: Sequence[Mapping[str, Any]], console: Console) -> None:
    """The levels' ratios, and how much less they are worth than pairs."""
    from rich.table import Table

    from harness.statistics.paired_test import Rule

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("cell", "head over base, 99 %, unpaired", "processes", "measured alike"):
        table.add_column(column, overflow="fold")
    for cell in found:
        change = "-" if cell["ratio"] is None else change_words(cell)
        table.add_row(
            cell["cell"],
            change,
            " and ".join(map(str, cell["processes"])),
            "; ".join(cell["differ"]) or "yes",
        )
    console.print(table)
    console.print(
        "Two recorded runs were not measured side by side: whatever drifted between them is in the ratio, and the interval cannot "
        "see it. No verdict is given; `evenbench compare` of the commits, in pairs, gives one.",
        soft_wrap=True,
    )
    halves = sorted(cell["half"] for cell in found if cell["half"] is not None)
    if halves:
        from_to = " to ".join(
            f"{100 * half:.1f}" for half in dict.fromkeys((halves[0], halves[-1]))
        )
        precision = Rule().precision
        console.print(
            f"The intervals are ±{from_to} % wide by these processes alone, {halves[-1] / precision:.1f} times the "
            f"±{100 * precision:.0f} % to which pairs are measured: smaller changes do not show here at all.",
            soft_wrap=True,
        )
