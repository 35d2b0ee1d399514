"""Paired comparison: two sides of a cell, each in a fresh process, measured alternately and never
at the same time.

A *pair* is one process of each side. Both are built and warmed, the one to be built first drawn by
lot; then they are measured in blocks of ABBA or BAAB, and whichever is not being timed is stopped,
since its idle threads would spin on the other's cores. Both are kept to the same cores, so that a
core whose physical one is busy with something else is no difference between them. All cells are
swept once, then again, so that the pairs of a cell spread over the session. Each cell stops by the
gate's rule. What is flagged is confirmed with pairs of its own, and base against base is measured
in the same session: a gate that alarms there knows nothing of the rest.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.comparison import budget, interference
from harness.comparison.side_process import Process, Side, SideFailed
from harness.comparison.sides import NothingToCompare
from harness.comparison.verdicts import (
    ARTIFACT,
    COLD_START,
    ERROR,
    LATENCY,
    MARGINS,
    MEMORY,
    Pairing,
    is_flagged,
    judged,
    rule_for,
)
from harness.core.errors import UsageError
from harness.core.types import PLANS, Plan
from harness.environment import measurement_lock, system_info
from harness.statistics import paired_test
from harness.statistics.estimates import median

SAMPLE_NS = 10_000_000
"""A sample lasts at least this long, so that the readings of the clock and the stopping of
processes are small against it.
"""

CONTROLS = 3
"""At least so many cells are measured base against base, where there are as many."""


def take_pair(
    pairing: Pairing, words: Sequence[str], plan: Plan, lot: random.Random
) -> dict[str, Any]:
    """One process of each side, measured in blocks; the log ratios head over base of every metric,
    and what was seen.

    Raises SideFailed where a side fails.
    """
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        arms: dict[int, Process] = {}
        for index in lot.sample((0, 1), 2):
            side, prepared = pairing.sides[index], pairing.prepared[index]
            spec = replace(
                side.spec(words, pairing.declared, plan),
                task="measure",
                folders=prepared["folders"],
            )
            arms[index] = stack.enter_context(Process(side, spec, prepared))
            arms[index].ask()  # loaded and warm
            arms[index].stop()
        first = next(iter(arms))
        cores = _cores(max(int(prepared["threads"]) for prepared in pairing.prepared), lot)
        for arm in arms.values():
            arm.keep_to(cores)
        if not pairing.number:
            pairing.number = max(_calibrate(arm) for arm in arms.values())
        samples: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        for _ in range(pairing.blocks):
            ahead = lot.randrange(2)
            for index in (ahead, 1 - ahead, 1 - ahead, ahead):
                samples[index].append(_sample(arms[index], pairing.number))
        ends = [_ask(arms[index], {"do": "finish"})["value"] for index in (0, 1)]
    pressure = system_info.load()["cpu_pressure_percent"]
    times = [_times(pairing, index, samples[index]) for index in (0, 1)]
    return {
        "first": pairing.sides[first].name,
        "number": pairing.number,
        "cores": cores,
        "seconds": time.monotonic() - begun,
        "times_ns": times,
        "cpu_ns": [[sample["cpu_ns"] for sample in side] for side in samples],
        "preemptions": [[sample["preemptions"] for sample in side] for side in samples],
        "health": interference.facts([*samples[0], *samples[1]], pressure),
        "ends": ends,
        "log_ratios": {
            LATENCY: median([math.log(head / base) for base, head in zip(*times, strict=True)]),
            **_other_ratios(ends, pairing.prepared),
        },
    }


def _cores(threads: int, lot: random.Random) -> list[int]:
    """As many of the cores that this process may use as a cell has threads, drawn anew for each
    pair; empty where that is all of them.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return sorted(lot.sample(allowed, threads)) if threads < len(allowed) else []


def _times(pairing: Pairing, index: int, samples: Sequence[Mapping[str, Any]]) -> list[float]:
    """Nanoseconds per lap of each sample. Raises SideFailed where a sample took no time or less."""
    times = [sum(sample["laps_ns"]) / pairing.number for sample in samples]
    if min(times) <= 0:
        raise SideFailed(
            f"{pairing.sides[index].name}: {pairing.cell} a lap took {min(times):g} ns: the clock stood still or went backwards, "
            "so nothing that was timed here counts; see `evenbench doctor`, and measure on another machine"
        )
    return times


def _other_ratios(
    ends: Sequence[Mapping[str, Any]], prepared: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """ln(head / base) of what a process has one number of. Errors below a hundredth of the
    tolerance count as that.
    """
    found = {
        MEMORY: [end["peak_rss_bytes"] for end in ends],
        COLD_START: [end["cold_start_seconds"] for end in ends],
        ARTIFACT: [made["artifact_bytes"] for made in prepared],
    }
    if all(end["parity"] for end in ends):
        found[ERROR] = [max(end["parity"]["needed"], 0.01) for end in ends]
    return {
        metric: math.log(head / base) for metric, (base, head) in found.items() if base and head
    }


def _ask(arm: Process, message: Mapping[str, Any]) -> Mapping[str, Any]:
    arm.go()
    try:
        return arm.ask(message)
    finally:
        arm.stop()


def _sample(arm: Process, number: int) -> dict[str, Any]:
    return dict(_ask(arm, {"do": "sample", "number": number}))


def _calibrate(arm: Process) -> int:
    """How many laps last `SAMPLE_NS`: doubled until they do."""
    number = 1
    while number < 1 << 20:
        if sum(_sample(arm, number)["laps_ns"]) >= SAMPLE_NS:
            return number
        number *= 2
    return number


@dataclass(frozen=True)
class Progress:
    """What just happened, for a display: pairs taken of those at most wanted, and words."""

    done: int
    most: int
    text: str


@dataclass
class PairedSession:
    """A paired comparison of some cells. `words` choose them, as on the command line of `evenbench
    run`.
    """

    base: Side
    head: Side
    words: Sequence[str]
    cells: Mapping[str, str]
    """The cell's id for people, to the declared id that both sides look up."""
    rule: paired_test.Rule = field(default_factory=paired_test.Rule)
    plan: Plan = PLANS["default"]
    seed: int = 0
    seconds: float = math.inf
    """Of measuring; when they are over, cells stay with the pairs they have."""
    known: Mapping[str, budget.Past] = field(default_factory=dict)
    """What earlier comparisons say of the cells, by the id for people."""
    listen: Callable[[Progress], None] = lambda progress: None
    asked: Sequence[str] = tuple(MARGINS)
    """The metrics that are judged; the first of them decides when a cell has enough pairs."""
    pairings: list[Pairing] = field(default_factory=list, init=False)
    left_out: dict[str, str] = field(default_factory=dict, init=False)
    """Cells that neither side can run here, and why: no news of head."""
    _begin: float = field(default=0.0, init=False)

    def run(self) -> list[dict[str, Any]]:
        """Prepare, share out the budget, screen, confirm and judge: one result per cell, the
        controls among them.
        """
        self.prepare_all()
        self._allot()
        return self.measure(self.pairings)

    def prepare_all(self) -> None:
        """Make or find what every cell needs on either side, and give each its margin.

        Raises UsageError where there are no cells, and NothingToCompare where none of them can run
        here.
        """
        if not self.cells:
            raise UsageError("compare: no cells; name some with a target, -k or --cell")
        self.pairings = list(self._prepared())
        if not self.pairings:
            raise NothingToCompare(f"{self.left_out_words()}; nothing is left to compare")
        for pairing in self.pairings:
            pairing.margin = budget.margin_for(self.known.get(pairing.cell), self.rule)

    def left_out_words(self) -> str:
        """`neither side can run here: a, b (unavailable: ...)`; empty where every cell can."""
        shown = list(self.left_out)
        more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
        return (
            f"neither side can run here: {', '.join(shown[:5])}{more} ({self.left_out[shown[0]].splitlines()[0]})"
            if shown
            else ""
        )

    def measure(self, pairings: Sequence[Pairing]) -> list[dict[str, Any]]:
        """Screen, confirm and judge what is prepared; one result per pairing. Adds the pairs to
        them.
        """
        with measurement_lock.alone():
            self._begin = time.monotonic()
            lot = random.Random(self.seed)
            self._sweep(pairings, lot, "pairs", self.seconds * (1 - budget.CONFIRMING))
            flagged = [
                pairing for pairing in pairings if is_flagged(pairing, self.rule, self.asked)
            ]
            if flagged:
                # As many as it takes, like the screening: one disturbed pair of too few leaves no
                # verdict, however clear the others.
                self._sweep(
                    flagged, random.Random(f"{self.seed} again"), "confirmation", self.seconds
                )
        return judged(pairings, self.rule, self.asked)

    def _prepared(self) -> Iterator[Pairing]:
        controls = max(CONTROLS, math.ceil(len(self.cells) / 10))
        for shown, declared in self.cells.items():
            self.listen(Progress(0, 0, f"preparing {shown}"))
            made = self._both(declared)
            good = [each for each in made if not isinstance(each, SideFailed)]
            failed = [each for each in made if isinstance(each, SideFailed)]
            if not failed:
                yield Pairing(shown, declared, (self.base, self.head), (good[0], good[1]))
            elif not good and all(each.cannot for each in failed):
                self.left_out[shown] = failed[0].cannot
            else:
                yield Pairing(
                    shown,
                    declared,
                    (self.base, self.head),
                    ({}, {}),
                    failure=self._why_not(failed[0]),
                )
            if not failed and controls:
                controls -= 1
                yield Pairing(
                    shown, declared, (self.base, self.base), (good[0], good[0]), control=True
                )

    def _both(self, declared: str) -> list[Mapping[str, Any] | SideFailed]:
        """What was prepared for base and head, or why it could not be; where something went wrong
        for base, nothing of head.
        """
        found: list[Mapping[str, Any] | SideFailed] = []
        for side in (self.base, self.head):
            try:
                found.append(self.prepare(side, declared))
            except SideFailed as error:
                found.append(error)
                if not error.cannot:
                    break
        return found

    def _why_not(self, error: SideFailed) -> str:
        """What is wrong, and where the base is what is wrong, what to do: nothing is said of head
        then.
        """
        words, first, rest = str(error), *str(error).partition("\n")[::2]
        if not words.startswith(f"{self.base.name}: ") or self.base.name == self.head.name:
            return words
        return f"{first}; so head has nothing to be compared with: name a base that can be measured\n{rest}".strip()

    def _allot(self) -> None:
        """Where there is a budget, give each pairing its pairs and samples; say what each will see."""
        if math.isinf(self.seconds):
            return
        names = [_key(pairing) for pairing in self.pairings if not pairing.failure]
        known = {key: self.known[key[0]] for key in names if key[0] in self.known}
        given = budget.allot(names, known, self.seconds, self.rule)
        for pairing in self.pairings:
            if not pairing.failure:
                allotted = given[_key(pairing)]
                pairing.most, pairing.blocks = allotted.pairs, allotted.samples // 2
                if not pairing.control:
                    self.listen(Progress(0, 0, allotment_words(pairing.cell, allotted)))

    def prepare(self, side: Side, cell: str) -> Mapping[str, Any]:
        with Process(side, side.spec(self.words, cell, self.plan)) as arm:
            value: Mapping[str, Any] = arm.ask()["value"]
            return value

    def _sweep(
        self, pairings: Sequence[Pairing], lot: random.Random, kind: str, seconds: float
    ) -> None:
        """Sweep until each cell is precise, has the most pairs, or so much of the session is over;
        cells in a new order each time.
        """
        least, most = self.rule.least, self.rule.most
        for sweep in range(most):
            waiting = [
                pairing
                for pairing in pairings
                if sweep < (pairing.most or most) and self._wants_more(pairing, kind, least)
            ]
            lot.shuffle(waiting)
            for pairing in waiting:
                if time.monotonic() - self._begin > seconds and sweep >= least:
                    return
                left = self._left()
                self.listen(
                    Progress(
                        sweep,
                        most,
                        f"{kind} {sweep + 1} of {least} to {pairing.most or most}: {pairing.cell}{left}",
                    )
                )
                try:
                    getattr(pairing, kind).append(take_pair(pairing, self.words, self.plan, lot))
                except SideFailed as error:
                    pairing.failure = str(error)

    def _left(self) -> str:
        """`, 3 min of the budget left`, or nothing where there is none."""
        if math.isinf(self.seconds):
            return ""
        left = max(0.0, self.seconds - (time.monotonic() - self._begin))
        return (
            f", {left / 60:.0f} min of the budget left"
            if left >= 90
            else f", {left:.0f} s of the budget left"
        )

    def _wants_more(self, pairing: Pairing, kind: str, least: int) -> bool:
        taken = pairing.log_ratios(self.asked[0], getattr(pairing, kind))
        return not pairing.failure and (
            len(taken) < least
            or not paired_test.is_precise(taken, rule_for(pairing, self.asked[0], self.rule))
        )


def allotment_words(cell: str, given: budget.Allotment) -> str:
    """`resnet18-ort-fp32-cpu-b1: up to 20 pairs in about 60 s see slowdowns of 3.7 % and more`."""
    seen = f"{cell}: up to {given.pairs} pairs in about {given.seconds:.0f} s see slowdowns of {given.detectable:.1%} and more"
    return seen.replace("%", " %") + ("" if given.known else ", going by no history of it")


def _key(pairing: Pairing) -> tuple[str, bool]:
    return pairing.cell, pairing.control
