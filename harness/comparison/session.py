"""A paired comparison of cells: prepared, screened in pairs, confirmed and judged.

All cells are swept once, then again, so that the pairs of a cell spread over the session. Each cell
stops by the rule of the paired test. A flagged cell is confirmed with pairs of its own. Base is
also measured against base in the same session: a test that alarms there says nothing of the rest.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.comparison import budget
from harness.comparison.pair import take_pair
from harness.comparison.side_process import Process, Side, SideFailed
from harness.comparison.sides import NothingToCompare
from harness.comparison.verdicts import MARGINS, Pairing, is_flagged, judged, rule_for
from harness.core.errors import UsageError
from harness.core.plans import PLANS, Plan
from harness.environment import measurement_lock
from harness.runner.sweep import rounds
from harness.statistics import paired_test

CONTROLS = 3
"""The least number of cells that are measured base against base, if there are as many."""


@dataclass(frozen=True)
class Progress:
    """Progress of a comparison, for a display: `done` of at most `most` pairs, and a message."""

    done: int
    most: int
    text: str


@dataclass
class PairedSession:
    """A paired comparison. `words` select the cells, as on the command line of `evenbench run`."""

    base: Side
    head: Side
    words: Sequence[str]
    cells: Mapping[str, str]
    """Displayed cell id → declared id, which both sides look up."""
    rule: paired_test.Rule = field(default_factory=paired_test.Rule)
    plan: Plan = PLANS["default"]
    seed: int = 0
    seconds: float = math.inf
    """The time for measuring; afterwards cells keep the pairs that they have."""
    known: Mapping[str, budget.Past] = field(default_factory=dict)
    """Spread and margin from earlier comparisons, by displayed cell id."""
    listen: Callable[[Progress], None] = lambda progress: None
    asked: Sequence[str] = tuple(MARGINS)
    """The judged metrics. The first decides when a cell has enough pairs."""
    pairings: list[Pairing] = field(default_factory=list, init=False)
    left_out: dict[str, str] = field(default_factory=dict, init=False)
    """Cells that neither side can run here, with the reason."""
    _begin: float = field(default=0.0, init=False)

    def run(self) -> list[dict[str, Any]]:
        """Prepare, allot the budget, screen, confirm and judge; one result per cell and control."""
        self.prepare_all()
        self._allot()
        return self.measure(self.pairings)

    def prepare_all(self) -> None:
        """Prepare both sides of every cell, and set its margin.

        Raises UsageError if there are no cells, and NothingToCompare if no cell can run here.
        """
        if not self.cells:
            raise UsageError("compare: no cells; name some with a target, -k or --cell")
        self.pairings = list(self._prepared())
        if not self.pairings:
            raise NothingToCompare(f"{self.left_out_words()}; nothing is left to compare")
        for pairing in self.pairings:
            pairing.margin = budget.margin_for(self.known.get(pairing.cell), self.rule)

    def left_out_words(self) -> str:
        """The excluded cells: `neither side can run here: a, b (unavailable: ...)`, or nothing."""
        shown = list(self.left_out)
        more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
        return (
            f"neither side can run here: {', '.join(shown[:5])}{more} ({self.left_out[shown[0]].splitlines()[0]})"
            if shown
            else ""
        )

    def measure(self, pairings: Sequence[Pairing]) -> list[dict[str, Any]]:
        """Screen, confirm and judge prepared pairings; one result each. Adds pairs to them."""
        with measurement_lock.alone():
            self._begin = time.monotonic()
            shuffle = random.Random(self.seed)
            self._sweep(pairings, shuffle, "pairs", self.seconds * (1 - budget.CONFIRMING))
            flagged = [
                pairing for pairing in pairings if is_flagged(pairing, self.rule, self.asked)
            ]
            if flagged:
                # As many pairs as screening may take: of too few, one disturbed pair leaves no
                # verdict, however clear the others are.
                self._sweep(
                    flagged, random.Random(f"{self.seed} again"), "confirmation", self.seconds
                )
        return judged(pairings, self.rule, self.asked)

    def _prepared(self) -> Iterator[Pairing]:
        controls = max(CONTROLS, math.ceil(len(self.cells) / 10))
        for shown, declared in self.cells.items():
            self.listen(Progress(0, 0, f"preparing {shown}"))
            sides = self._both(declared)
            good = [side for side in sides if not isinstance(side, SideFailed)]
            failed = [side for side in sides if isinstance(side, SideFailed)]
            if not failed:
                yield Pairing(shown, declared, (self.base, self.head), (good[0], good[1]))
            elif not good and all(failure.cannot for failure in failed):
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
        """The preparation of base and head, or the failure of either; none of head if base failed."""
        sides: list[Mapping[str, Any] | SideFailed] = []
        for side in (self.base, self.head):
            try:
                sides.append(self.prepare(side, declared))
            except SideFailed as error:
                sides.append(error)
                if not error.cannot:
                    break
        return sides

    def _why_not(self, error: SideFailed) -> str:
        """The failure as text. A failure of base says what to do, because head is not judged then."""
        words, first, rest = str(error), *str(error).partition("\n")[::2]
        if not words.startswith(f"{self.base.name}: ") or self.base.name == self.head.name:
            return words
        return f"{first}; so head has nothing to be compared with: name a base that can be measured\n{rest}".strip()

    def _allot(self) -> None:
        """Divide the budget, if any, into pairs and samples, and report the detectable slowdowns."""
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
        self, pairings: Sequence[Pairing], shuffle: random.Random, kind: str, seconds: float
    ) -> None:
        """Take pairs until each cell is precise, has the most pairs, or `seconds` are over."""
        least, most = self.rule.least, self.rule.most

        def wants(pairing: Pairing, sweep: int) -> bool:
            return sweep < (pairing.most or most) and self._wants_more(pairing, kind, least)

        for sweep, pairing in rounds(pairings, most, wants, shuffle):
            if time.monotonic() - self._begin > seconds and sweep >= least:
                return
            pairs = f"{kind} {sweep + 1} of {least} to {pairing.most or most}"
            self.listen(Progress(sweep, most, f"{pairs}: {pairing.cell}{self._left()}"))
            try:
                getattr(pairing, kind).append(take_pair(pairing, self.words, self.plan, shuffle))
            except SideFailed as error:
                pairing.failure = str(error)

    def _left(self) -> str:
        """The remaining budget as `, 3 min of the budget left`, or nothing without a budget."""
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
