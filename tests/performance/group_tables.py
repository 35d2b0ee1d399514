"""The record of `make aa-run` as the tables of docs/explanation/statistics.md.

A test holds the page to the record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evenbench.harness.statistics.estimates import median
from tests.performance import group_records
from tests.performance.gate_tables import ROOT, by, placed, table, upper_limit
from tests.performance.group_records import Pair

PAGE = ROOT / "docs" / "explanation" / "statistics.md"
BEGIN = "<!-- figures: make aa-run -->\n"
NONE = "There are no figures yet.\n"

BATCH = 5
"""Groups of a larger run."""

ALLOWED = 0.05
"""The share of runs that may have a false word."""

Line = Mapping[str, Any]
Lines = Sequence[Line]


def alone(line: Line) -> list[Pair]:
    """The pairs of a group by the present rule, as a run of its own."""
    return group_records.present([line])[0]


def identical(lines: Lines) -> list[Line]:
    """The groups of identical cells."""
    return [line for line in lines if not line["effect"]]


def is_alarm(lines: Lines) -> bool:
    """Whether surely more than `ALLOWED` of the runs have a false word: the lower 95 % limit."""
    from scipy import stats

    null = identical(lines)
    wrong = sum(_any_false(alone(line)) for line in null)
    if not null:
        return False
    interval = stats.binomtest(wrong, len(null), alternative="greater").proportion_ci(0.95, "exact")
    return bool(interval.low > ALLOWED)


def everything(lines: Lines) -> str:
    """What docs/explanation/statistics.md shows."""
    if not lines:
        return NONE
    parts = [heading(lines), false_words(lines), intervals(lines), batches(lines), power(lines)]
    return "\n".join(part for part in parts if part)


def heading(lines: Lines) -> str:
    """When, where, with which versions, and how many groups; of an incomplete record, how many it
    lacks.
    """
    from tests.performance import bench_groups, bench_record

    dates = sorted({line["date"] for line in lines})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    machines = dict.fromkeys(line["machine"] for line in lines)
    wanted = bench_groups.kinds(bench_groups.GROUPS, bench_groups.TRIALS)
    lacking = sum(bench_record.left(lines, wanted).values())
    count = f"{len(lines)} groups of {len(lines[0]['blocks'])} cells" + (
        f"; {lacking} more are to come, so that rates are still rough" if lacking else ""
    )
    loads = [line["load"] for line in lines]
    return (
        f"`make aa-run` on {when}, a shared virtual machine: {'; '.join(machines)}. {count}. "
        f"Load average {min(loads):g} to {max(loads):g}, median {median(loads):.1f}.\n"
    )


def _parts(lines: Lines) -> Iterator[tuple[str, Lines]]:
    """Rows of a table: per condition each workload and all, then all together."""
    conditions = list(by(lines, "condition"))
    for condition, some in conditions:
        for name, each in [*by(some, "workload"), ("all", some)]:
            yield f"{condition}: {name}", each
    if len(conditions) > 1:
        yield "all of them", lines


def _any_false(pairs: Sequence[Pair]) -> bool:
    return any(pair.is_false for pair in pairs)


def _rate(wrong: int, of: int) -> list[str]:
    return [f"{wrong} ({wrong / of:.1%})", f"{upper_limit(wrong, of):.1%}"]


def false_words(lines: Lines) -> str:
    """Per condition and workload: runs of one group of identical cells, those with any false word
    by either rule, and what it cost.
    """
    rows = []
    for title, each in _parts(identical(lines)):
        judged = [alone(line) for line in each]
        before = sum(_any_false(group_records.former(line)) for line in each)
        words = [pair.word for pairs in judged for pair in pairs]
        rows.append(
            [
                title,
                str(len(each)),
                *_rate(sum(map(_any_false, judged)), len(each)),
                f"{before} ({before / len(each):.1%})",
                f"{words.count('equivalent') / len(words):.0%}",
                f"{sum(line['sweeps'] for line in each) / len(each):.1f}",
                f"{median([line['seconds'] for line in each]):.0f} s",
            ]
        )
    header = [
        "four identical cells",
        "runs",
        "with a false word",
        "upper 95 % limit",
        "by the former rule",
        "pairs called equivalent",
        "sweeps, mean",
        "median time",
    ]
    return table(header, rows) if rows else ""


def intervals(lines: Lines) -> str:
    """Per condition and workload: coverage and half-width of the ratios of identical cells, by
    either rule.
    """
    rows = []
    for title, each in _parts(identical(lines)):
        cells = [title]
        for rule in (alone, group_records.former):
            pairs = [pair for line in each for pair in rule(line)]
            halves = sorted(pair.half_width for pair in pairs)
            cells += [
                f"{sum(pair.is_covered for pair in pairs) / len(pairs):.1%}",
                _percent(halves[len(halves) // 2]),
                _percent(halves[math.ceil(0.95 * len(halves)) - 1]),
            ]
        rows.append(cells)
    header = [
        "95 % intervals of ratios of identical cells",
        *("coverage", "half-width, median", "95th percentile"),
        *("former rule: coverage", "half-width, median", "95th percentile"),
    ]
    return table(header, rows) if rows else ""


def batches(lines: Lines) -> str:
    """Per condition: runs of `BATCH` successive groups of identical cells, and those with any false
    word by either rule.
    """
    rows = []
    parts = [*by(identical(lines), "condition"), ("all of them", identical(lines))]
    for title, each in parts:
        runs = [each[at : at + BATCH] for at in range(0, len(each) - BATCH + 1, BATCH)]
        if not runs:
            continue
        now = sum(any(map(_any_false, group_records.present(run))) for run in runs)
        before = sum(any(_any_false(group_records.former(line)) for line in run) for run in runs)
        cells = [
            title,
            str(len(runs)),
            *_rate(now, len(runs)),
            f"{before} ({before / len(runs):.1%})",
        ]
        rows.append(cells)
    header = [
        f"runs of {BATCH} groups of identical cells",
        "runs",
        "with a false word",
        "upper 95 % limit",
        "by the former rule",
    ]
    return table(header, rows) if rows else ""


def power(lines: Lines) -> str:
    """Per condition, workload and amount of work: how often one cell with more work was found, with
    false words of any pair, by either rule.
    """
    rows = []
    more = [line for line in lines if line["effect"]]
    for condition, some in by(more, "condition"):
        for workload, of_workload in by(some, "workload"):
            for effect in sorted({line["effect"] for line in of_workload}):
                each = [line for line in of_workload if line["effect"] == effect]
                rows.append([f"{condition}: {workload}", f"{effect:.0%}", *_power(each)])
    header = [
        "one cell of four with more work",
        "more by",
        "called slower than another",
        "of its three pairs",
        "runs with a false word",
        "former rule: slower than another",
        "of its three pairs",
        "runs with a false word",
        "median time",
    ]
    return table(header, rows) if rows else ""


def _power(lines: Lines) -> list[str]:
    cells = []
    for rule in (alone, group_records.former):
        judged = [(line["more"], rule(line)) for line in lines]
        different = [pair for _, pairs in judged for pair in pairs if pair.truth]
        right = sum(pair.is_right for pair in different)
        caught = sum(group_records.is_excluded(pairs, cell) for cell, pairs in judged)
        wrong = sum(_any_false(pairs) for _, pairs in judged)
        cells += [f"{caught} of {len(lines)}", f"{right / len(different):.0%}", str(wrong)]
    return [*cells, f"{median([line['seconds'] for line in lines]):.0f} s"]


def _percent(half_width: float) -> str:
    """A half-width of a log ratio as text."""
    if half_width > math.log(10):
        return "over 900 %"
    return f"±{100 * math.expm1(half_width):.1f} %"


def page(lines: Lines) -> str:
    """docs/explanation/statistics.md as it should be."""
    return placed(PAGE.read_text(encoding="utf-8"), everything(lines), BEGIN)


def write(lines: Lines) -> None:
    """Bring the page up to date."""
    PAGE.write_text(page(lines), encoding="utf-8")
