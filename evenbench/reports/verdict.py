"""Verdict on a group: the front of correct runtimes, and the lead.

All words of reports about two results come from here; they follow the comparisons corrected over
the run, not single intervals.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.harness.statistics import words
from evenbench.harness.statistics.estimates import Estimate
from evenbench.harness.statistics.group_verdicts import Comparison
from evenbench.reports import formatting, front_texts, input_shapes, machine_state
from evenbench.reports.result_groups import BASELINE, Group, Result, has_interval, ratio

FASTER, EVEN, SLOWER, BASE, UNKNOWN = "faster", "even", "slower", "base", "unknown"
UNRESOLVED = "unresolved"
"""Standings of a result against the baseline, and names of their colours on the page.

`EVEN` is equivalent within a margin, `UNRESOLVED` neither different nor equivalent by the recorded
data, `UNKNOWN` without an interval.
"""

NOT_APART = "not told apart"
"""The only words for results that no corrected comparison distinguishes."""

_TONES = {
    words.FASTER: FASTER,
    words.SLOWER: SLOWER,
    words.EQUIVALENT: EVEN,
    words.INCONCLUSIVE: UNRESOLVED,
}


@dataclass(frozen=True)
class Verdict:
    """A line of the summary as texts.

    `fastest` names all results without a faster result. Their times and speed-ups are ranges, and
    the intervals hold all of theirs; `tone` is of the first.
    """

    model: str
    setting: str
    run: str
    fastest: str
    tie: str
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
    fastest = group.fastest[0] if group.fastest else None
    speedup, interval = front_speedup(group)
    times = [result.compute for result in group.fastest if result.compute]
    host = [result.host_to_host for result in group.fastest if result.host_to_host]
    return Verdict(
        model=str(group.first.get("model", "")),
        setting=setting(group),
        run=group.run,
        fastest=fastest_names(group) or formatting.DASH,
        tie=_tie(group),
        latency=front_texts.latency_range(times),
        latency_interval=front_texts.latency_hull(times),
        host_to_host=front_texts.latency_range(host),
        speedup=speedup,
        speedup_interval=interval,
        tone=tone(group, fastest) if fastest else UNKNOWN,
        words=_words(group),
        correct=_correct(group),
    )


def setting(group: Group) -> str:
    """Return the values shared by a group: `fp32 · cpu · batch 1 · 2 threads · 3x64x64`."""
    cell = group.first
    batch, threads = cell.get("batch", formatting.DASH), int(cell.get("threads") or 0)
    hint = " · throughput" if (cell.get("options") or {}).get("hint") == "throughput" else ""
    device = f"{cell.get('precision', '')} · {cell.get('device', '')}"
    shape = f" · {input_shapes.shown(cell)}" if input_shapes.of(cell) else ""
    return f"{device} · batch {batch} · {formatting.count(threads, 'thread')}{shape}{hint}"


def speedup_texts(group: Group, result: Result) -> tuple[str, str]:
    """Return the speed-up of a result and its interval as texts.

    The baseline is 1 by definition, without an interval.
    """
    if result is group.baseline:
        return "1×", ""
    if group.withheld(result):
        return formatting.NOT_JUDGED, ""
    speedup = group.speedup(result)
    return formatting.ratio(speedup), formatting.ratio_interval(speedup)


def front_speedup(group: Group) -> tuple[str, str]:
    """Return the speed-ups of the fastest results as a range, with the hull of their intervals.

    Without the baseline, which may be one of them.
    """
    others = [result for result in group.fastest if result is not group.baseline]
    if not others:
        return speedup_texts(group, group.fastest[0]) if group.fastest else (formatting.DASH, "")
    known = [speedup for result in others if (speedup := group.speedup(result))]
    return front_texts.ratio_range(known), front_texts.ratio_hull(known)


def fastest_names(group: Group) -> str:
    """Return the names of the fastest results: `ort or openvino`; empty without any."""
    return formatting.listing(_shown(group.fastest), "or")


def machine_words(groups: Sequence[Group]) -> str:
    """Return what the machine did, and how many comparisons are withheld; empty if quiet."""
    members = [result for group in groups for result in group.ranked]
    unjudged = sum(bool(group.withheld(result)) for group in groups for result in group.ranked)
    return machine_state.sentence(members, unjudged)


def tone(group: Group, result: Result) -> str:
    """Return the standing of a result against the baseline, by their corrected comparison."""
    if result is group.baseline:
        return BASE
    if group.baseline is None or not result.ranks:
        return UNKNOWN
    return tone_of(group.comparison(group.baseline, result), group.speedup(result))


def tone_of(comparison: Comparison | None, estimate: Estimate | None) -> str:
    """Return the standing by a comparison with this estimate."""
    if comparison is None or not has_interval(estimate) or not formatting.judged(estimate):
        return UNKNOWN
    return _TONES[comparison.word]


def stand(group: Group, result: Result) -> str:
    """Return the standing of a ranked result against the baseline as text.

    Compares with the fastest result if the baseline was not requested.
    """
    reference = group.baseline if group.asks_baseline else group.ranked[0]
    if reference is None:
        return no_baseline(group)
    if result is reference:
        return "the baseline" if group.asks_baseline else "the fastest here"
    name = BASELINE if group.asks_baseline else reference.name
    return relation(group, result, reference, name)


def no_baseline(group: Group) -> str:
    """Return why a group with a requested baseline has none."""
    emulated = any(
        result.is_emulated for result in group.ranked if result.cell.get("backend") == BASELINE
    )
    precision = group.first.get("precision", "")
    return (
        f"{BASELINE} emulates {precision} on this machine, so it is no baseline"
        if emulated
        else f"no correct {BASELINE} here"
    )


def relation(group: Group, result: Result, other: Result, name: str) -> str:
    """Return the corrected comparison of a result with another one, called `name`, as text."""
    estimate = ratio(other, result)
    busy = machine_state.withheld(other, result, estimate)
    if busy:
        return f"{formatting.NOT_JUDGED}: {busy}"
    comparison = group.comparison(other, result)
    standing = tone_of(comparison, estimate)
    if standing in (FASTER, SLOWER):
        return f"{standing} than {name}"
    if standing == EVEN:
        return f"equivalent to {name} within {formatting.percent(comparison.within or 0.0)}"
    if standing == UNRESOLVED and estimate:
        return f"{NOT_APART} from {name}: {_open(estimate)}"
    if has_interval(estimate):
        return f"{formatting.NOT_JUDGED}: the ratio to {name} differs between processes"
    return f"{formatting.NOT_JUDGED}: {formatting.NO_INTERVAL}"


def _open(estimate: Estimate) -> str:
    return f"{formatting.half_width(estimate)}, needs more time"


def _words(group: Group) -> str:
    if not group.ranked:
        return "no correct result of a runtime"
    parts = [_among_the_fastest(group), _against_baseline(group), _against_the_others(group)]
    return "; ".join(filter(None, parts))


def _among_the_fastest(group: Group) -> str:
    """The comparison among several fastest results; empty for a single result."""
    if len(group.fastest) < 2:
        return ""
    pairs = _front_pairs(group)
    names = fastest_names(group)
    margin = front_margin(group)
    if margin is not None:
        return f"{names}: equivalent within {formatting.percent(margin)}"
    widest = max(
        (estimate for _, estimate in pairs if estimate and formatting.judged(estimate)),
        key=lambda estimate: (estimate.high or 1.0) / (estimate.low or 1.0),
        default=None,
    )
    open_words = f": {_open(widest)}" if widest and has_interval(widest) else ""
    return f"{names}, {NOT_APART}{open_words}"


def front_margin(group: Group) -> float | None:
    """Return the share within which all fastest results are equivalent; None if undecided."""
    margins = [comparison.within for comparison, _ in _front_pairs(group)]
    known = [margin for margin in margins if margin is not None]
    return max(known) if known and len(known) == len(margins) else None


def _front_pairs(group: Group) -> list[tuple[Comparison, Estimate | None]]:
    return [
        (group.comparison(one, other), ratio(one, other))
        for one, other in itertools.combinations(group.fastest, 2)
    ]


def _against_baseline(group: Group) -> str:
    if not group.asks_baseline:
        return f"{BASELINE} is not among these cells"
    if group.baseline is None:
        return f"no speed-up: {no_baseline(group)}"
    if group.fastest == (group.baseline,):
        return f"{BASELINE} itself is the fastest"
    if group.baseline in group.fastest:
        return ""
    fastest = group.fastest[0]
    if len(group.fastest) > 1:
        faster = [result for result in group.fastest if tone(group, result) == FASTER]
        if len(faster) == len(group.fastest):
            return f"each faster than {BASELINE}"
        if faster:
            return f"{formatting.listing(_shown(faster))} faster than {BASELINE}"
        return f"{fastest.name} {stand(group, fastest)}"
    if group.withheld(fastest):
        return stand(group, fastest)
    if not has_interval(group.speedup(fastest)):
        return "1 process, so the speed-up has no interval"
    return stand(group, fastest)


def _against_the_others(group: Group) -> str:
    """The lead of the fastest over the next result; empty for several fastest results."""
    if len(group.fastest) > 1:
        return ""
    fastest, *others = group.ranked
    others = [result for result in others if result is not group.baseline]
    if not others:
        return "" if group.baseline in group.ranked[1:] else "no other correct runtime"
    lead = ratio(others[0], fastest)
    if machine_state.withheld(others[0], fastest, lead):
        return f"the lead over {others[0].name} is not judged on a busy machine"
    if not has_interval(lead):
        return f"the lead over {others[0].name} cannot be judged from 1 process"
    words = "" if group.asks_baseline or lead is None else f", {_ratio_words(lead)}"
    return f"clearly ahead of {others[0].name}{words}"


def _ratio_words(ratio: Estimate) -> str:
    """`2.31× (2.20 to 2.42×)`."""
    return formatting.with_interval(formatting.ratio(ratio), formatting.ratio_interval(ratio))


def _tie(group: Group) -> str:
    """How several fastest results stand to each other; empty for one."""
    if len(group.fastest) < 2:
        return ""
    margin = front_margin(group)
    if margin is None:
        return "too close to call"
    return f"equivalent within {formatting.percent(margin)}"


def _shown(tied: Sequence[Result]) -> list[str]:
    names = [result.name for result in tied]
    return names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]


def _correct(group: Group) -> str:
    runtimes = [result for result in group.results if not result.is_control]
    return f"{sum(result.outcome == 'ok' for result in runtimes)} of {len(runtimes)}"
