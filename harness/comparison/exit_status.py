"""How a paired comparison ends: its exit code, why in words, and the table that a person sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.comparison.verdicts import LATENCY
from harness.core.exit_codes import PASS, UNDECIDED, UNHEALTHY, WORSE

if TYPE_CHECKING:
    from rich.console import Console

WORDS = {"slower": "worse", "faster": "better"}
"""What the gate's verdicts are called where the metric is no time."""

STYLES = {
    "slower": "bold red",
    "worse": "bold red",
    "faster": "green",
    "better": "green",
    "inconclusive": "yellow",
}


@dataclass(frozen=True)
class Ending:
    """How a comparison ends: its exit code, and why, in words."""

    code: int
    words: tuple[str, ...]


def ending(
    found: Sequence[Mapping[str, Any]],
    require_conclusive: bool = False,
    strict_health: bool = False,
) -> Ending:
    """The exit code over all cells. A control that alarms, or fails, turns every alarm into a
    warning, and the code into 7.

    With `strict_health` so does a cell that waited for a core rather than computed, where nothing
    else is worse.
    """
    cells = [result for result in found if not result["control"]]
    broken = [f"{result['cell']}: {result['failure']}" for result in cells if result["failure"]]
    wrong = [f"{result['cell']}: {why}" for result in cells for why in result["wrong"] if why]
    worse = [
        f"{result['cell']}: {metric_words(name, metric)}"
        for result in cells
        for name, metric in alarms(result)
    ]
    restless = [
        f"{result['cell']}: {metric_words(name, metric)}"
        for result in found
        for name, metric in control_alarms(result)
    ]
    restless += [
        f"{result['cell']} (control): {result['failure']}"
        for result in found
        if result["control"] and result["failure"]
    ]
    if broken or wrong:
        return Ending(WORSE, (*broken, *wrong, *worse))
    if restless:
        head = "the null control, base against base, alarmed or failed: what was found here says more about the machine than about head"
        return Ending(UNHEALTHY, (head, *restless, *worse))
    if worse:
        return Ending(WORSE, tuple(worse))
    contaminated = [
        f"{result['cell']}: {result['contaminated']}"
        for result in cells
        if result.get("contaminated")
    ]
    if contaminated and strict_health:
        return Ending(UNHEALTHY, tuple(contaminated))
    open_ = [result["cell"] for result in cells if _latency_of(result) in ("", "inconclusive")]
    if open_ and require_conclusive:
        return Ending(UNDECIDED, tuple(f"{cell}: inconclusive" for cell in open_))
    return Ending(PASS, ())


def _latency_of(result: Mapping[str, Any]) -> str:
    return str(result["metrics"].get(LATENCY, {}).get("verdict", ""))


def alarms(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The metrics that are confirmed worse."""
    return [
        (name, metric)
        for name, metric in result["metrics"].items()
        if metric["verdict"] == "slower"
    ]


def control_alarms(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The metrics that a control finds different, which they cannot be."""
    if not result["control"]:
        return []
    return [
        (name, metric)
        for name, metric in result["metrics"].items()
        if metric["screen"]["verdict"] in ("slower", "faster")
    ]


def metric_words(name: str, metric: Mapping[str, Any]) -> str:
    """`latency +6.1 % [4.0, 8.3] at 99 %, margin 2 %`: of the confirming pairs where there are any."""
    found = metric["confirmation"] or metric["screen"]
    return f"{name} {change_words(found)} at 99 %, margin {metric['margin']:.0%}".replace(
        "%", " %"
    ).replace("  %", " %")


def change_words(found: Mapping[str, Any]) -> str:
    """`+6.1 % [+4.0, +8.3]`."""
    change, low, high = (100 * (found[key] - 1) for key in ("ratio", "low", "high"))
    return f"{change:+.1f} % [{low:+.1f}, {high:+.1f}]"


def show(found: Sequence[Mapping[str, Any]], end: Ending, console: Console) -> None:
    """One row per cell and metric, then why the exit code is what it is."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("cell", "metric", "head over base, 99 %", "pairs", "verdict"):
        table.add_column(column, overflow="fold")
    for result in found:
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
    if overall := overall_words(found):
        console.print(overall, markup=False, soft_wrap=True)
    for words in health_words(found):
        console.print(Text(words, "yellow"), soft_wrap=True)
    for words in end.words:
        console.print(Text(words, "red" if end.code else ""), soft_wrap=True)


FEWEST_CELLS, RESAMPLED, AT_ONCE = 5, 2000, 1_000_000
"""Below so many cells a mean over them says little more than their rows; how often they are drawn
anew; and how many drawn cells are in memory at a time."""


def overall_words(found: Sequence[Mapping[str, Any]]) -> str:
    """`latency of all 12 cells +0.3 % [-0.4, +1.0], no verdict`: the geometric mean of their
    ratios; empty below `FEWEST_CELLS` cells.

    Its 99 % interval is by bootstrap over cells (percentiles; B. Efron, Annals of Statistics 7,
    1979). It tells how far the mean rests on a few of them, and is for the reader only.
    """
    cells = [
        result["metrics"][LATENCY]
        for result in found
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
    return f"latency of all {len(logs)} cells {change_words({'ratio': centre, 'low': low, 'high': high})}, no verdict"


def health_words(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was seen of the machine while cells were measured, each thing once: how bad at worst,
    and in how many cells.
    """
    cells = [result for result in found if result.get("health")]
    if not cells:
        return []
    worst = max(cells, key=lambda result: len(result["health"]))
    return [
        f"disturbed: {len(cells)} of {len(found)}, {worst['cell']} for one: {', '.join(worst['health'])}"
    ]


def verdict_words(name: str, metric: Mapping[str, Any], contaminated: str = "") -> str:
    """The verdict, and for an open one what would decide it; `contaminated` says why a slowdown in
    latency does not count.
    """
    verdict = (
        metric["verdict"] if name == LATENCY else WORDS.get(metric["verdict"], metric["verdict"])
    )
    screened = metric["screen"]["verdict"]
    if verdict != "inconclusive":
        return str(verdict)
    if contaminated and name == LATENCY:
        return f"inconclusive: {contaminated}"
    if screened in ("slower", "faster"):
        return f"inconclusive: {screened} at first, not confirmed by processes of its own"
    needed = metric["screen"]["needed_pairs"]
    return (
        f"inconclusive: about {needed} pairs would decide it"
        if needed
        else "inconclusive: too close to the margin to decide here"
    )
