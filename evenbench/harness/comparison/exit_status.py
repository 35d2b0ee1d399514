"""The end of a paired comparison: exit code, reasons, and the table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenbench.harness.comparison.verdicts import LATENCY
from evenbench.harness.core import quantities
from evenbench.harness.core.exit_codes import PASS, UNDECIDED, UNHEALTHY, WORSE
from evenbench.harness.statistics.words import DIFFERENCES, FASTER, INCONCLUSIVE, SLOWER

if TYPE_CHECKING:
    from rich.console import Console

WORDS = {SLOWER: "worse", FASTER: "better"}
"""The names of verdicts on metrics other than latency."""

STYLES = {
    SLOWER: "bold red",
    "worse": "bold red",
    FASTER: "green",
    "better": "green",
    INCONCLUSIVE: "yellow",
}


@dataclass(frozen=True)
class Ending:
    """The exit code of a comparison, and the reasons as sentences."""

    code: int
    words: tuple[str, ...]


def ending(
    results: Sequence[Mapping[str, Any]],
    require_conclusive: bool = False,
    strict_health: bool = False,
) -> Ending:
    """The exit code over all cells. The first matching rule decides:

    1. 1 (worse): a cell failed or has wrong outputs;
    2. 7 (unhealthy): a null control, base against base, alarmed or failed;
    3. 1 (worse): a metric is confirmed worse;
    4. 7, with `strict_health`: interference explains a latency slowdown;
    5. 6 (undecided), with `require_conclusive`: the latency of a cell is inconclusive;
    6. 0 (pass).

    `harness.core.exit_codes` has the codes.
    """
    cells = [result for result in results if not result["control"]]
    worse = [
        f"{result['cell']}: {metric_words(name, metric)}"
        for result in cells
        for name, metric in alarms(result)
    ]
    if broken := _broken(cells):
        return Ending(WORSE, (*broken, *worse))
    if controls := _bad_controls(results):
        return Ending(UNHEALTHY, (BAD_CONTROL, *controls, *worse))
    if worse:
        return Ending(WORSE, tuple(worse))
    contaminated = [
        f"{result['cell']}: {result['contaminated']}"
        for result in cells
        if result.get("contaminated")
    ]
    if contaminated and strict_health:
        return Ending(UNHEALTHY, tuple(contaminated))
    undecided = [
        result["cell"] for result in cells if _latency_verdict(result) in ("", INCONCLUSIVE)
    ]
    if undecided and require_conclusive:
        return Ending(UNDECIDED, tuple(f"{cell}: inconclusive" for cell in undecided))
    return Ending(PASS, ())


def _broken(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each failure, then for each side with wrong outputs."""
    failed = [f"{result['cell']}: {result['failure']}" for result in cells if result["failure"]]
    wrong = [
        f"{result['cell']}: {reason}" for result in cells for reason in result["wrong"] if reason
    ]
    return failed + wrong


BAD_CONTROL = (
    "the null control, base against base, alarmed or failed: "
    "the differences below say more about the machine than about head"
)


def _bad_controls(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each alarm, then for each failure, of a null control."""
    alarmed = [
        f"{result['cell']}: {metric_words(name, metric)}"
        for result in results
        for name, metric in control_alarms(result)
    ]
    failed = [
        f"{result['cell']} (control): {result['failure']}"
        for result in results
        if result["control"] and result["failure"]
    ]
    return alarmed + failed


def _latency_verdict(result: Mapping[str, Any]) -> str:
    return str(result["metrics"].get(LATENCY, {}).get("verdict", ""))


def alarms(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The metrics confirmed worse."""
    return [
        (name, metric) for name, metric in result["metrics"].items() if metric["verdict"] == SLOWER
    ]


def control_alarms(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The metrics of a control with a difference, all false alarms; empty for other cells."""
    if not result["control"]:
        return []
    return [
        (name, metric)
        for name, metric in result["metrics"].items()
        if metric["screen"]["verdict"] in DIFFERENCES
    ]


def metric_words(name: str, metric: Mapping[str, Any]) -> str:
    """`latency +6.1 % [+4.0, +8.3] at 99 %, margin 2 %`, from the confirming pairs if any."""
    judged = metric["confirmation"] or metric["screen"]
    return f"{name} {change_words(judged)} at 99 %, margin {metric['margin']:.0%}".replace(
        "%", " %"
    ).replace("  %", " %")


def change_words(judged: Mapping[str, Any]) -> str:
    """`+6.1 % [+4.0, +8.3]`: the change of head over base with its 99 % interval."""
    change, low, high = (100 * (judged[key] - 1) for key in ("ratio", "low", "high"))
    return f"{change:+.1f} % [{low:+.1f}, {high:+.1f}]"


LONGEST_NAME = 20
"""Longer names of sides, such as paths, are called head and base above a column."""


def over_words(results: Sequence[Mapping[str, Any]]) -> str:
    """`openvino over ort`: what the ratios of a comparison divide; `head over base` if long."""
    sides = next((list(result["sides"]) for result in results if not result["control"]), [])
    if len(sides) != 2 or max(map(len, sides)) > LONGEST_NAME:
        return "head over base"
    base, head = sides
    return f"{head} over {base}"


def show(results: Sequence[Mapping[str, Any]], end: Ending, console: Console) -> None:
    """Print one row per cell and metric, then the health of the machine and the reasons."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("cell", "metric", f"{over_words(results)}, 99 %", "pairs", "verdict"):
        table.add_column(column, overflow="fold")
    for result in results:
        shown = f"{result['cell']} (control)" if result["control"] else result["cell"]
        if result["failure"]:
            table.add_row(shown, "", "", str(len(result["pairs"])), Text("failed", "bold red"))
        for name, metric in result["metrics"].items():
            words = verdict_words(name, metric, result.get("contaminated", ""))
            pairs = len(result["confirmation"]) or len(result["pairs"])
            style = STYLES.get(words.partition(":")[0], "")
            table.add_row(
                shown,
                name,
                change_words(metric["confirmation"] or metric["screen"]),
                str(pairs),
                Text(words, style),
            )
            shown = ""
    console.print(table)
    if overall := overall_words(results):
        console.print(overall, markup=False, soft_wrap=True)
    for words in health_words(results):
        console.print(Text(words, "yellow"), soft_wrap=True)
    for words in end.words:
        console.print(Text(words, "red" if end.code else ""), soft_wrap=True)


FEWEST_CELLS, RESAMPLED, AT_ONCE = 5, 2000, 1_000_000
"""The fewest cells for a mean, the number of bootstrap samples, and the resampled values held in
memory at a time.
"""


def overall_words(results: Sequence[Mapping[str, Any]]) -> str:
    """`latency of all 12 cells +0.3 % [-0.4, +1.0], no verdict`; empty below `FEWEST_CELLS` cells.

    The geometric mean of the cells' ratios with a 99 % percentile bootstrap interval over cells
    (B. Efron, Annals of Statistics 7, 1979). The interval shows how far the mean depends on a few
    cells; the exit code ignores both.
    """
    cells = [
        result["metrics"][LATENCY]
        for result in results
        if not result["control"] and LATENCY in result["metrics"]
    ]
    logs = [math.log((metric["confirmation"] or metric["screen"])["ratio"]) for metric in cells]
    if len(logs) < FEWEST_CELLS:
        return ""
    import numpy as np
    from scipy import stats  # here: it takes a second to import

    at_once = max(1, AT_ONCE // len(logs))
    drawn = stats.bootstrap(
        (logs,),
        np.mean,
        n_resamples=RESAMPLED,
        batch=at_once,
        confidence_level=0.99,
        method="percentile",
        rng=0,
    )
    centre, low, high = map(math.exp, (sum(logs) / len(logs), *drawn.confidence_interval))
    change = change_words({"ratio": centre, "low": low, "high": high})
    return f"latency of all {quantities.count(len(logs), 'cell')} {change}, no verdict"


def health_words(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence about interference: the number of disturbed cells, and the worst cell."""
    cells = [result for result in results if result.get("health")]
    if not cells:
        return []
    worst = max(cells, key=lambda result: len(result["health"]))
    return [
        f"disturbed: {len(cells)} of {len(results)}, "
        f"{worst['cell']} for one: {', '.join(worst['health'])}"
    ]


def verdict_words(name: str, metric: Mapping[str, Any], contaminated: str = "") -> str:
    """The verdict on a metric; for an inconclusive metric also the reason or the pairs needed.

    `contaminated` is the reason not to trust a slowdown in latency.
    """
    verdict = (
        metric["verdict"] if name == LATENCY else WORDS.get(metric["verdict"], metric["verdict"])
    )
    screened = metric["screen"]["verdict"]
    if verdict != INCONCLUSIVE:
        return str(verdict)
    if contaminated and name == LATENCY:
        return f"inconclusive: {contaminated}"
    if screened in DIFFERENCES:
        return f"inconclusive: {screened} at first, not confirmed by processes of its own"
    needed = metric["screen"]["needed_pairs"]
    return (
        f"inconclusive: about {quantities.count(needed, 'pair')} would decide it"
        if needed
        else "inconclusive: too close to the margin to decide here"
    )
