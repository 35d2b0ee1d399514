"""The record of `make aa` as the tables of statistics.md and compare-commits.md.

A test holds the pages to the record, and the README to its two rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbench.harness.comparison.verdicts import LATENCY
from evenbench.harness.statistics import paired_test
from evenbench.harness.statistics.estimates import median
from evenbench.harness.statistics.ratios import of_values
from evenbench.harness.statistics.words import DIFFERENCES as CHANGED
from tests.performance.rules import RULES

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- figures: make aa -->\n", "<!-- end of figures -->"
Lines = Sequence[Mapping[str, Any]]


def upper_limit(found: int, of: int) -> float:
    """The one-sided upper 95 % limit of a rate (C. Clopper and E. Pearson, Biometrika 26, 1934)."""
    from scipy import stats

    return float(stats.binomtest(found, of, alternative="less").proportion_ci(0.95, "exact").high)


def judged(lines: Lines) -> list[Mapping[str, Any]]:
    """The lines with the latency judged by the present rule on the recorded pairs."""
    return [
        {**line, "verdicts": {**line["verdicts"], LATENCY: latency_verdict(line)}} for line in lines
    ]


def latency_verdict(line: Mapping[str, Any]) -> str:
    """The verdict on the pairs of a line, confirmed by those measured again, if any.

    Pairs with a stalled process stay in, since the record has the ratio of each pair alone.
    """
    rule = paired_test.Rule()
    screen, again = (
        paired_test.judge(of_values(line[name]), rule) if line[name] else None
        for name in ("log_ratios", "confirmation")
    )
    assert screen is not None
    if screen.verdict not in CHANGED:
        return screen.verdict
    confirmed = again is not None and again.verdict == screen.verdict
    return screen.verdict if confirmed else "inconclusive"


def null(lines: Lines) -> list[Mapping[str, Any]]:
    """The comparisons of base with base."""
    return [line for line in lines if not line["effect"]]


def alarms(lines: Lines) -> list[Mapping[str, Any]]:
    """Those of them that were called slower or faster in any metric."""
    return [
        line
        for line in null(lines)
        if any(verdict in CHANGED for verdict in line["verdicts"].values())
    ]


def everything(lines: Lines) -> str:
    """What docs/explanation/statistics.md shows."""
    if not lines:
        return "There are no figures yet.\n"
    parts = [heading(lines), false_alarms(lines), order_bias(lines), power(lines), others(lines)]
    return "\n".join(part for part in parts if part)


def summary(lines: Lines) -> str:
    """What docs/how-to/compare-commits.md shows."""
    return "\n".join([heading(lines), others(lines)]) if lines else "There are no figures yet.\n"


def heading(lines: Lines) -> str:
    """When, where, with which versions, and how many comparisons; of a record that is not whole,
    how many it lacks.
    """
    from tests.performance import bench_gate, bench_record

    dates = sorted({line["date"] for line in lines})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    machines = dict.fromkeys(line["machine"] for line in lines)
    lacking = sum(
        bench_record.left(
            lines, bench_gate.kinds(bench_gate.COMPARISONS, bench_gate.TRIALS)
        ).values()
    )
    count = f"{len(lines)} comparisons" + (
        f"; {lacking} more are to come, so that rates are still rough" if lacking else ""
    )
    return f"`make aa` on {when}, a shared virtual machine: {'; '.join(machines)}. {count}.\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, with numbers right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def by(lines: Lines, name: str) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The lines by the value of a key, in the order of first values."""
    for value in dict.fromkeys(line[name] for line in lines):
        yield value, [line for line in lines if line[name] == value]


def false_alarms(lines: Lines) -> str:
    """Per condition and workload: comparisons of base with base, alarms, the rate's upper limit,
    and what the rest came to.
    """
    rows = []
    conditions = list(by(null(lines), "condition"))
    parts = [
        (f"{condition}: {name}", each)
        for condition, some in conditions
        for name, each in [*by(some, "workload"), ("all", some)]
    ]
    if len(conditions) > 1:
        parts.append(("all of them", null(lines)))
    for title, each in parts:
        called = [line["verdicts"][LATENCY] for line in each]
        wrong = sum(verdict in CHANGED for verdict in called)
        undecided = sum(verdict == "inconclusive" for verdict in called)
        limit = f"{upper_limit(wrong, len(each)):.1%}"
        rows.append(
            [title, str(len(each)), str(wrong), limit, str(len(alarms(each))), str(undecided)]
        )
    header = [
        "base against itself",
        "comparisons",
        "latency alarms",
        "upper 95 % limit",
        "alarms of any metric",
        "latency inconclusive",
    ]
    return table(header, rows)


def order_bias(lines: Lines) -> str:
    """Whether the side that is named head is measured longer: the mean log ratio over all pairs,
    with its 99 % interval.
    """
    from scipy import stats

    words = []
    for condition, some in by(null(lines), "condition"):
        ratios = [value for line in some for value in line["log_ratios"]]
        low, high = stats.mstats.trimmed_mean_ci(ratios, limits=(0.2, 0.2), alpha=0.01)
        words.append(
            f"{condition} {stats.trim_mean(ratios, 0.2):+.2%} "
            f"({low:+.2%} to {high:+.2%}, {len(ratios)} pairs)"
        )
    return (
        f"Bias between the two sides, trimmed mean with its 99 % interval: {'; '.join(words)}.\n"
        if words
        else ""
    )


def power(lines: Lines) -> str:
    """Per condition, workload and slowdown: how many were found, and how many of them within the
    time that is promised.
    """
    from tests.performance.bench_gate import SECONDS

    rows = []
    more = [line for line in lines if line["effect"]]
    for condition, some in by(more, "condition"):
        for workload, of_workload in by(some, "workload"):
            for effect in sorted({line["effect"] for line in of_workload}):
                each = [line for line in of_workload if line["effect"] == effect]
                found = [line for line in each if line["verdicts"][LATENCY] == "slower"]
                quick = sum(line["seconds"] <= SECONDS for line in found)
                seconds = median([line["seconds"] for line in each])
                counts = [
                    f"{len(found)} of {len(each)}",
                    f"{len(found) / len(each):.0%}",
                    f"{quick} of {len(each)}",
                ]
                rows.append(
                    [f"{condition}: {workload}", f"{effect:.0%}", *counts, f"{seconds:.0f} s"]
                )
    header = [
        "work repeated",
        "more by",
        "called slower",
        "share",
        f"within {SECONDS:.0f} s",
        "median time",
    ]
    return table(header, rows) if rows else ""


def others(lines: Lines) -> str:
    """The gate beside what other tools say of the same laps: alarms over base against itself, and 5
    % and 10 % found.
    """
    columns: list[tuple[str, Lines]] = []
    for condition in dict.fromkeys(line["condition"] for line in lines):
        columns.append(
            (
                f"false alarms, {condition}",
                [line for line in null(lines) if line["condition"] == condition],
            )
        )
    for effect in (0.05, 0.1):
        columns += [
            (
                f"{effect:.0%} found, {condition}",
                [
                    line
                    for line in lines
                    if line["effect"] == effect and line["condition"] == condition
                ],
            )
            for condition in dict.fromkeys(
                line["condition"] for line in lines if line["effect"] == effect
            )
        ]

    rows = []
    for name in ("evenbench compare", *RULES):
        found = [(sum(_says(name, line) for line in some), len(some)) for _, some in columns]
        rows.append([name, *(f"{alarmed / of:.1%}" if of else "–" for alarmed, of in found)])
    return table(["rule, on the same laps", *(name for name, _ in columns)], rows)


def _says(rule: str, line: Mapping[str, Any]) -> bool:
    """Whether a rule alarmed: of base against itself either way, of more work that it is slower."""
    if rule in RULES:
        slower, faster = line["others"][rule]
    else:
        slower, faster = (line["verdicts"][LATENCY] == verdict for verdict in CHANGED)
    return bool(slower or (faster and not line["effect"]))


def placed(page: str, text: str, mark: str = BEGIN) -> str:
    """The page with the figures after `mark` replaced."""
    begin = page.index(mark) + len(mark)
    return page[:begin] + text + page[page.index(END, begin) :]


def pages(lines: Lines) -> Mapping[Path, str]:
    """Both pages as they should be."""
    statistics = ROOT / "docs" / "explanation" / "statistics.md"
    how_to = ROOT / "docs" / "how-to" / "compare-commits.md"
    made = {statistics: everything(lines), how_to: summary(lines)}
    return {file: placed(file.read_text(encoding="utf-8"), text) for file, text in made.items()}


def write(lines: Lines) -> None:
    """Bring both pages up to date."""
    for file, text in pages(lines).items():
        file.write_text(text, encoding="utf-8")
