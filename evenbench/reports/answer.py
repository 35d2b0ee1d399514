"""The answer of a report: the runtimes to ship, the lead, open questions, and the machine.

Title and lead of the page and the last lines of the terminal come from `answer`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import formatting, verdict, warning_kinds
from evenbench.reports.result_groups import BASELINE, Group, Result, has_interval

NAMED = 3
"""Limit on names in a title."""


@dataclass(frozen=True)
class Answer:
    """The answer as sentences: `title` and `lead`, `open` and `machine`.

    `open` is about undecided comparisons, empty without any; `machine` is about warnings, and
    `cause` is the most frequent warning.
    """

    title: str
    lead: str
    open: str
    machine: str
    cause: str

    @property
    def quiet(self) -> bool:
        """Whether no cell carries a warning about the machine."""
        return not self.cause

    @property
    def lines(self) -> list[str]:
        """The answer for a terminal: title, lead and the machine."""
        return [self.title, " ".join(filter(None, [self.lead, self.open])), self.machine]


def answer(groups: Sequence[Group], members: Sequence[Result]) -> Answer:
    """Return the answer for all groups of a page."""
    ranked = [group for group in groups if group.ranked]
    judged = [group for group in ranked if _judged(group)]
    machine, cause = _machine(ranked, members)
    if not ranked:
        return Answer("No correct runtime to ship", _nothing(members), "", machine, cause)
    if not judged:
        return Answer(_unjudged_title(ranked), _unjudged_lead(ranked), "", machine, cause)
    shared = _shared(judged)
    title = _title(judged, shared)
    return Answer(title, _lead(judged, shared), _open(ranked, judged), machine, cause)


def _judged(group: Group) -> bool:
    """Whether a group has a verdict: a judged level of the fastest cells, and an interval."""
    fastest = group.fastest[0]
    if not formatting.judged(fastest.compute):
        return False
    alone = len(group.ranked) == 1
    return alone or has_interval(fastest.compute)


def _shared(groups: Sequence[Group]) -> list[str]:
    """The runtimes among the fastest of every group, in the order of the first group."""
    sets = [{result.name for result in group.fastest} for group in groups]
    return [result.name for result in groups[0].fastest if all(result.name in s for s in sets)]


def _title(groups: Sequence[Group], shared: Sequence[str]) -> str:
    if BASELINE in shared:
        return f"Stay with {BASELINE}: no runtime is clearly faster"
    if shared:
        return f"Ship {_names(shared)}"
    cover = _cover(groups)
    if len(cover) > NAMED:
        return f"No single runtime for {_settings(groups)}"
    parts = [f"{name} for {formatting.listing(models)}" for name, models in _by_model(cover)]
    whole = f"Ship {', '.join(parts)}"
    if len(whole) <= 64:
        return whole
    parts = [f"{name} for {len(chosen)}" for name, chosen in cover]
    return f"Ship {', '.join(parts)} of {_settings(groups)}"


def _by_model(cover: Sequence[tuple[str, Sequence[Group]]]) -> list[tuple[str, list[str]]]:
    return [
        (name, list(dict.fromkeys(str(group.first.get("model", "")) for group in chosen)))
        for name, chosen in cover
    ]


def _cover(groups: Sequence[Group]) -> list[tuple[str, list[Group]]]:
    """Few runtimes among the fastest of all groups together, each with groups.

    Greedy: the runtime of most remaining groups first.
    """
    left, cover = list(groups), []
    while left:
        counted = Counter(result.name for group in left for result in group.fastest)
        name = counted.most_common(1)[0][0]
        chosen = [group for group in left if name in {result.name for result in group.fastest}]
        cover.append((name, chosen))
        left = [group for group in left if group not in chosen]
    return cover


def _lead(groups: Sequence[Group], shared: Sequence[str]) -> str:
    """The gain over the baseline, with intervals."""
    against = [group for group in groups if group.baseline]
    if BASELINE in shared:
        return f"{BASELINE} is among the fastest of {_settings(groups)}."
    gains = [(group, _gain(group, shared)) for group in against]
    known = [(group, gain) for group, gain in gains if gain and formatting.judged(gain)]
    if not known:
        return _without_baseline(groups)
    who = "It is" if len(shared) == 1 else "The fastest is"
    if len(known) == 1:
        gain = known[0][1]
        interval = formatting.ratio_interval(gain)
        between = f" (95 % interval {interval})" if interval and has_interval(gain) else ""
        return f"{who} {formatting.ratio(gain)} as fast as {BASELINE}{between}."
    low, high = (pick(gain.value for _, gain in known) for pick in (min, max))
    ends = [gain for _, gain in known if gain.low and gain.high]
    span = ""
    if ends:
        lowest, highest = (
            min(gain.low or 0 for gain in ends),
            max(gain.high or 0 for gain in ends),
        )
        span = f" (95 % intervals from {_times(lowest)} to {_times(highest)})"
    text = f"{who} {_bare(low)} to {_times(high)} as fast as {BASELINE} on "
    return f"{text}{_settings([group for group, _ in known])}{span}."


def _without_baseline(groups: Sequence[Group]) -> str:
    if any(group.asks_baseline for group in groups):
        reason = f"no correct {BASELINE} result is in these groups, so there is no speed-up"
        return f"Fastest of {_settings(groups)}; {reason}."
    return f"Without {BASELINE}, the fastest of each group is compared with the next."


def _gain(group: Group, shared: Sequence[str]) -> Estimate | None:
    """The speed-up of the runtime of the title, otherwise of the fastest."""
    only = shared[0] if len(shared) == 1 else group.fastest[0].name
    chosen = next(result for result in group.fastest if result.name == only)
    return None if chosen is group.baseline else group.speedup(chosen)


def _open(ranked: Sequence[Group], judged: Sequence[Group]) -> str:
    """Ties and groups without a verdict, as a sentence each; empty if all is decided."""
    fronts = [group for group in judged if len(group.fastest) > 1]
    tied = [group for group in fronts if verdict.front_margin(group) is None]
    equal = [group for group in fronts if group not in tied]
    sentences = []
    if equal:
        margin = formatting.percent(max(verdict.front_margin(group) or 0 for group in equal))
        where = "" if len(judged) == 1 else f" on {_part(equal, judged)}"
        sentences.append(f"{_tied_names(equal)} are equivalent within {margin}{where}.")
    if tied:
        where = "" if len(judged) == 1 else f" on {_part(tied, judged)}"
        sentences.append(f"This run cannot tell {_tied_names(tied)} apart{where}.")
    unjudged = [group for group in ranked if group not in judged]
    if unjudged:
        verb = "is" if len(unjudged) == 1 else "are"
        sentences.append(f"{_settings(unjudged)} {verb} not judged.")
    return " ".join(sentences)


def _tied_names(groups: Sequence[Group]) -> str:
    sets = {frozenset(result.name for result in group.fastest) for group in groups}
    if len(sets) > 1:
        return "the fastest runtimes"
    return verdict.fastest_names(groups[0]).replace(" or ", " and ")


def _unjudged_title(groups: Sequence[Group]) -> str:
    alone = all(len(group.ranked[0].compute_ns) < 2 for group in groups)
    if not alone:
        return "No verdict: the processes of the fastest cells disagree"
    first = {group.ranked[0].name for group in groups}
    name = f"{first.pop()} was fastest" if len(first) == 1 else "no runtime was always fastest"
    return f"No verdict from 1 process: {name}"


def _unjudged_lead(groups: Sequence[Group]) -> str:
    if all(len(group.ranked[0].compute_ns) < 2 for group in groups):
        return (
            "Restarting a program changes its speed, so 1 process per cell has no interval. "
            "Measure with --plan default for a verdict."
        )
    return "Times of one cell differ more than 10 times between processes. Measure again."


def _nothing(members: Sequence[Result]) -> str:
    counted = Counter(result.outcome for result in members if not result.is_control)
    listed = [f"{many} {outcome}" for outcome, many in counted.most_common()]
    return f"{formatting.listing(listed) or 'No cell'}: see the reasons below."


def _machine(groups: Sequence[Group], members: Sequence[Result]) -> tuple[str, str]:
    """The sentence on warnings, and the most frequent warning; empty for a quiet machine."""
    runtimes = [result for result in members if not result.is_control]
    kinds = [kind for kind in warning_kinds.kinds(runtimes) if kind.of_machine]
    busy = verdict.machine_words(groups)
    if not kinds:
        return busy or "The machine was quiet: no warning.", busy
    cells = {cell for kind in kinds for cell in kind.cells}
    touched = warning_kinds.touched(groups, cells)
    verb = "carries" if len(cells) == 1 else "carry"
    what = f"{len(cells):,} of {formatting.count(len(runtimes), 'cell')} {verb} a warning"
    where = (
        f"the conclusion of {_part(touched, groups)} rests on such a cell"
        if touched
        else "no conclusion rests on such a cell"
    )
    warned = f"Not a quiet run: {what}; {where}."
    return " ".join(filter(None, [busy, warned])), kinds[0].seen


def _part(part: Sequence[Group], whole: Sequence[Group]) -> str:
    if len(whole) == 1:
        return _settings(whole)
    return f"{len(part):,} of {_settings(whole, always_count=True)}"


def _settings(groups: Sequence[Group], always_count: bool = False) -> str:
    """The groups as text: their models, or the number of groups if models repeat."""
    models = list(dict.fromkeys(str(group.first.get("model", "")) for group in groups))
    if len(models) < len(groups):
        return formatting.count(len(groups), "group")
    if always_count or len(models) > 2:
        return formatting.count(len(models), "model")
    return formatting.listing(models)


def _names(names: Sequence[str]) -> str:
    shown = list(names) if len(names) <= NAMED else [*names[: NAMED - 1], "others"]
    return formatting.listing(shown, "or")


def _times(value: float) -> str:
    return f"{_bare(value)}×"


def _bare(value: float) -> str:
    return formatting.number(value, 2)
