"""Two recorded runs side by side: ratios without verdicts, because the runs were not paired."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.comparison.exit_status import change_words
from evenbench.harness.comparison.sides import NothingToCompare
from evenbench.harness.core import quantities
from evenbench.harness.core.errors import UsageError
from evenbench.harness.results import records
from evenbench.harness.results.series import MACHINE

if TYPE_CHECKING:
    from rich.console import Console

COMPARED_FACTS = (*MACHINE, "variables")
"""Facts of the environment with equal values in two comparable runs, besides packages, and GPUs for
GPU cells.
"""


def differences(one: Mapping[str, Any], other: Mapping[str, Any], device: str = "cpu") -> list[str]:
    """A sentence for each difference between two results' machines and packages."""
    facts = COMPARED_FACTS if device == "cpu" else (*COMPARED_FACTS, "gpus")
    differing = [
        f"{name}: {one.get(name)} against {other.get(name)}"
        for name in facts
        if one.get(name) != other.get(name)
    ]
    packages = [environment.get("packages") or {} for environment in (one, other)]
    return differing + [
        f"{name} {packages[0].get(name, 'absent')} against {packages[1].get(name, 'absent')}"
        for name in sorted({*packages[0], *packages[1]})
        if name != "evenbench" and packages[0].get(name) != packages[1].get(name)
    ]


def compared(
    base: str, head: str, anyway: bool = False, chosen: Callable[[str, str], bool] | None = None
) -> list[dict[str, Any]]:
    """The ratio of levels of two recorded runs, cell by cell, without a verdict.

    The 99 % interval is Welch's, for the difference of mean log medians over processes (B. L.
    Welch, Biometrika 34, 1947); `half` is half the relative width. `chosen(id, key)` filters cells.
    Raises NothingToCompare without a shared cell, and UsageError for different environments unless
    `anyway`.
    """
    old, new = _lines(base), _lines(head)
    keys = [key for key in new if key in old]
    if not keys:
        raise NothingToCompare(
            f"{base} and {head} share no cell; were they measured from other models or options?"
        )
    selected = [key for key in keys if chosen is None or chosen(new[key]["cell"]["id"], key)]
    if not selected:
        raise NothingToCompare(
            f"-k and --cell leave none of {quantities.count(len(keys), 'cell')} that {base} and "
            f"{head} share; `evenbench inspect` shows all"
        )
    differ = {key: _differ(old[key], new[key]) for key in selected}
    unlike = next(filter(None, differ.values()), None)
    if unlike and not anyway:
        raise UsageError(
            f"{base} and {head} were not measured alike ({'; '.join(unlike[:4])}); "
            "compare the commits in pairs, or see both side by side with --anyway"
        )
    return [
        {
            "cell": old[key]["cell"]["id"],
            "outcomes": [old[key]["outcome"], new[key]["outcome"]],
            "differ": differ[key],
            **_unpaired(old[key], new[key]),
        }
        for key in selected
    ]


def _differ(one: records.Record, other: records.Record) -> list[str]:
    """A sentence for each difference of schema, machine and packages."""
    device = other["cell"].get("device", "cpu")
    return [
        *_schemas(one, other),
        *differences(one["environment"], other["environment"], device),
    ]


def _lines(text: str) -> dict[str, records.Record]:
    """The latest outcome of each cell. Raises UsageError without a readable outcome."""
    reading = records.read([Path(text)])
    if not reading.lines:
        notes = "; ".join(reading.notes[:3])
        reason = f": {notes}" if notes else "; record one with `evenbench run`"
        raise UsageError(f"{text} holds no outcome that can be compared{reason}")
    return records.latest(reading.lines)


def _schemas(one: records.Record, other: records.Record) -> list[str]:
    """The difference of schemas, if any; keys may differ in meaning between schemas."""
    schemas = [line["schema"] for line in (one, other)]
    return [f"schema: {schemas[0]} against {schemas[1]}"] if schemas[0] != schemas[1] else []


def _unpaired(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    from evenbench.harness.core.types import COMPUTE
    from evenbench.harness.statistics.estimates import process_values

    values = [process_values(line["samples_ns"].get(COMPUTE, [])) for line in (one, other)]
    if any(line["outcome"] != "ok" for line in (one, other)) or min(map(len, values)) < 2:
        return {
            "ratio": None,
            "low": None,
            "high": None,
            "half": None,
            "processes": [len(medians) for medians in values],
        }
    from scipy import stats

    logs = [[math.log(value) for value in medians] for medians in values]
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
        "processes": [len(medians) for medians in values],
    }


def _why_no_ratio(cell: Mapping[str, Any]) -> str:
    wrong = [outcome for outcome in cell["outcomes"] if outcome != "ok"]
    if wrong:
        return f"no ratio: {' and '.join(dict.fromkeys(wrong))}"
    return "no ratio: a single process has no interval; use --plan default"


def show(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print the ratios, and the precision of their intervals compared with pairs."""
    from rich.table import Table

    from evenbench.harness.statistics.paired_test import Rule

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("cell", "head over base, 99 %, unpaired", "processes", "measured alike"):
        table.add_column(column, overflow="fold")
    for cell in rows:
        change = _why_no_ratio(cell) if cell["ratio"] is None else change_words(cell)
        table.add_row(
            cell["cell"],
            change,
            " and ".join(map(str, cell["processes"])),
            "; ".join(cell["differ"]) or "yes",
        )
    console.print(table)
    console.print(
        "Two recorded runs were not measured side by side: the ratio includes any drift of the "
        "machine between the runs, and the interval does not show drift. No verdict is given; "
        "`evenbench compare` of the commits, in pairs, gives one.",
        soft_wrap=True,
    )
    halves = sorted(cell["half"] for cell in rows if cell["half"] is not None)
    if halves:
        from_to = " to ".join(
            f"{100 * half:.1f}" for half in dict.fromkeys((halves[0], halves[-1]))
        )
        precision = Rule().precision
        console.print(
            f"The intervals are ±{from_to} % wide by these processes alone, "
            f"{halves[-1] / precision:.1f} times the ±{100 * precision:.0f} % to which pairs are "
            "measured: smaller changes do not show here at all.",
            soft_wrap=True,
        )
