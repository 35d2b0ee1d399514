"""Verdict on a group: the fastest correct runtime, its lead, and whether the lead exceeds noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.statistics.estimates import Estimate
from reports import formatting
from reports.result_groups import BASELINE, Group, Result, ratio

FASTER, EVEN, SLOWER, BASE, UNKNOWN = "faster", "even", "slower", "base", "unknown"
"""Standings of a result against the baseline, and names of their colours on the page."""


@dataclass(frozen=True)
class Verdict:
    """A line of the summary as texts. `tone` is the standing of the fastest result."""

    model: str
    setting: str
    run: str
    fastest: str
    latency: str
    latency_interval: str
    host_to_host: str
    speedup: str
    speedup_interval: str
    tone: str
    words: str
    correct: str


def judge(group: Group) -> Verdict:
    """Return the summary line of a group."""
    fastest = group.ranked[0] if group.ranked else None
    speedup, interval = speedup_texts(group, fastest) if fastest else (formatting.DASH, "")
    return Verdict(
        model=str(group.first.get("model", "")),
        setting=setting(group),
        run=group.run,
        fastest=fastest.name if fastest else formatting.DASH,
        latency=formatting.latency(fastest.compute if fastest else None),
        latency_interval=formatting.latency_interval(fastest.compute if fastest else None),
        host_to_host=formatting.latency(fastest.host_to_host if fastest else None),
        speedup=speedup,
        speedup_interval=interval,
        tone=tone(group, fastest) if fastest else UNKNOWN,
        words=_words(group),
        correct=_correct(group),
    )


def setting(group: Group) -> str:
    """Return the values shared by a group: `fp32 · cpu · batch 1 · 2 threads`."""
    cell = group.first
    batch, threads = cell.get("batch", formatting.DASH), int(cell.get("threads") or 0)
    hint = " · throughput" if (cell.get("options") or {}).get("hint") == "throughput" else ""
    device = f"{cell.get('precision', '')} · {cell.get('device', '')}"
    return f"{device} · batch {batch} · {formatting.count(threads, 'thread')}{hint}"


def speedup_texts(group: Group, result: Result) -> tuple[str, str]:
    """Return the speed-up of a result and its interval as texts.

    The baseline is 1 by definition, without an interval.
    """
    if result is group.baseline:
        return "1×", ""
    speedup = group.speedup(result)
    return formatting.ratio(speedup), formatting.ratio_interval(speedup)


def tone(group: Group, result: Result) -> str:
    """Return the standing of a result against the baseline, by the interval of their ratio."""
    speedup = group.speedup(result)
    if result is group.baseline:
        return BASE
    if speedup is None or speedup.low is None or speedup.high is None:
        return UNKNOWN
    return FASTER if speedup.low > 1 else SLOWER if speedup.high < 1 else EVEN


def stand(group: Group, result: Result) -> str:
    """Return the standing of a ranked result against the baseline as text.

    Compares with the fastest result if the baseline was not requested.
    """
    if not group.asks_baseline:
        return _against_the_fastest(group, result)
    return {
        BASE: "the baseline",
        FASTER: f"faster than {BASELINE}",
        EVEN: f"within noise of {BASELINE}",
        SLOWER: f"slower than {BASELINE}",
        UNKNOWN: f"not judged: {formatting.NO_INTERVAL}"
        if group.baseline
        else f"no correct {BASELINE} here",
    }[tone(group, result)]


def _against_the_fastest(group: Group, result: Result) -> str:
    fastest = group.ranked[0]
    if result is fastest:
        return "the fastest here"
    if min(len(fastest.compute_ns), len(result.compute_ns)) < 2:
        return f"not judged: {formatting.NO_INTERVAL}"
    return (
        f"within noise of {fastest.name}"
        if result in group.within_noise
        else f"slower than {fastest.name}"
    )


def _words(group: Group) -> str:
    if not group.ranked:
        return "no correct result of a runtime"
    return "; ".join(filter(None, [_against_baseline(group), _against_the_others(group)]))


def _against_baseline(group: Group) -> str:
    fastest = group.ranked[0]
    if not group.asks_baseline:
        return f"{BASELINE} is not among these cells"
    if group.baseline is None:
        return f"no speed-up, because no correct {BASELINE} result is in this run and group"
    if fastest is group.baseline:
        return f"{BASELINE} itself is the fastest"
    return (
        "1 process, so the speed-up has no interval"
        if tone(group, fastest) == UNKNOWN
        else stand(group, fastest)
    )


def _against_the_others(group: Group) -> str:
    fastest, *others = group.ranked
    others = [result for result in others if result is not group.baseline]
    tied = [result for result in others if result in group.within_noise]
    if not others:
        return "" if group.baseline in group.ranked[1:] else "no other correct runtime"
    if tied:
        return f"within noise of {formatting.listing(_shown(tied))}"
    if min(len(fastest.compute_ns), len(others[0].compute_ns)) < 2:
        return f"the lead over {others[0].name} cannot be judged from 1 process"
    lead = "" if group.asks_baseline else f", {_ratio_words(ratio(others[0], fastest))}"
    return f"clearly ahead of {others[0].name}{lead}"


def _ratio_words(ratio: Estimate) -> str:
    """`2.31× (2.20 to 2.42×)`."""
    return formatting.with_interval(formatting.ratio(ratio), formatting.ratio_interval(ratio))


def _shown(tied: Sequence[Result]) -> list[str]:
    names = [result.name for result in tied]
    return names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]


def _correct(group: Group) -> str:
    runtimes = [result for result in group.results if not result.is_control]
    return f"{sum(result.outcome == 'ok' for result in runtimes)} of {len(runtimes)}"
