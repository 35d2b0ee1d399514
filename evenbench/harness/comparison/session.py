"""A paired comparison of cells: prepared, screened in pairs, confirmed and judged.

All cells are swept once, then again, so that the pairs of a cell spread over the session. Each cell
stops by the rule of the paired test. A flagged cell is confirmed with new pairs. Base is also
measured against base in the same session: an alarm of such a control invalidates the verdicts.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evenbench.harness.comparison import budget
from evenbench.harness.comparison.process_pair import take_pair
from evenbench.harness.comparison.side_process import Side, SideFailed, SideProcess
from evenbench.harness.comparison.sides import NothingToCompare
from evenbench.harness.comparison.verdicts import MARGINS, Pairing, is_flagged, judged, rule_for
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS, Plan
from evenbench.harness.environment import measurement_lock
from evenbench.harness.runner.sweep import rounds
from evenbench.harness.statistics import paired_test

CONTROLS = 3
"""The least number of cells to measure base against base, if declared."""


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
    """The time for measuring. Afterwards cells keep the pairs measured so far."""
    known: Mapping[str, budget.Past] = field(default_factory=dict)
    """Spreads, costs and control ratios of earlier comparisons, by displayed cell id."""
    listen: Callable[[Progress], None] = lambda progress: None
    metrics: Sequence[str] = tuple(MARGINS)
    """The judged metrics. The first decides when a cell has enough pairs."""
    pairings: list[Pairing] = field(default_factory=list, init=False)
    left_out: dict[str, str] = field(default_factory=dict, init=False)
    """Cells that neither side can run here, with the reason."""
    _begin: float = field(default=0.0, init=False)

    def run(self) -> list[dict[str, Any]]:
        """Prepare, allot the budget, screen, confirm and judge; a result per cell and control."""
        self.prepare_all()
        self._allot()
        return self.measure(self.pairings)

    def prepare_all(self) -> None:
        """Prepare both sides of every cell, and set the margin.

        Raises UsageError without cells, and NothingToCompare if no cell can run here.
        """
        if not self.cells:
            raise UsageError("compare: no cells; name some with a target, -k or --cell")
        self.pairings = list(self._prepared())
        if not self.pairings:
            raise NothingToCompare(f"{self.exclusions()}; nothing is left to compare")
        for pairing in self.pairings:
            pairing.margin = budget.margin_for(self.known.get(pairing.cell), self.rule)

    def exclusions(self) -> str:
        """The excluded cells: `neither side can run here: a, b (unavailable: ...)`, or nothing."""
        cells = list(self.left_out)
        if not cells:
            return ""
        more = f" and {len(cells) - 5} more" if len(cells) > 5 else ""
        reason = self.left_out[cells[0]].splitlines()[0]
        return f"neither side can run here: {', '.join(cells[:5])}{more} ({reason})"

    def measure(self, pairings: Sequence[Pairing]) -> list[dict[str, Any]]:
        """Screen, confirm and judge prepared pairings; adds pairs, and returns the results."""
        with measurement_lock.alone():
            self._begin = time.monotonic()
            shuffle = random.Random(self.seed)
            self._sweep(pairings, shuffle, "pairs", self.seconds * (1 - budget.CONFIRMING))
            flagged = [
                pairing for pairing in pairings if is_flagged(pairing, self.rule, self.metrics)
            ]
            if flagged:
                # As many pairs as in screening: with fewer, a single disturbed pair prevents a
                # verdict, however clear the other pairs are.
                again = random.Random(f"{self.seed} again")
                self._sweep(flagged, again, "confirmation", self.seconds)
        return judged(pairings, self.rule, self.metrics)

    def _prepared(self) -> Iterator[Pairing]:
        controls = max(CONTROLS, math.ceil(len(self.cells) / 10))
        for shown, declared in self.cells.items():
            self.listen(Progress(0, 0, f"preparing {shown}"))
            sides = self._both(declared)
            ready = [side for side in sides if not isinstance(side, SideFailed)]
            failures = [side for side in sides if isinstance(side, SideFailed)]
            both = self.base, self.head
            if not failures:
                yield Pairing(shown, declared, both, (ready[0], ready[1]))
                if controls:
                    controls -= 1
                    same = self.base, self.base
                    yield Pairing(shown, declared, same, (ready[0], ready[0]), control=True)
            elif not ready and all(failure.refusal for failure in failures):
                self.left_out[shown] = failures[0].refusal
            else:
                failure = self._explained(failures[0])
                yield Pairing(shown, declared, both, ({}, {}), failure=failure)

    def _both(self, declared: str) -> list[Mapping[str, Any] | SideFailed]:
        """The prepared base and head, or failures.

        After a refused base, head is still prepared. After any other failure the list ends.
        """
        sides: list[Mapping[str, Any] | SideFailed] = []
        for side in (self.base, self.head):
            try:
                sides.append(self.prepare(side, declared))
            except SideFailed as error:
                sides.append(error)
                if not error.refusal:
                    break
        return sides

    def _explained(self, error: SideFailed) -> str:
        """The failure as text. A failure of base has a hint, because head is then not judged."""
        text = str(error)
        if not text.startswith(f"{self.base.name}: ") or self.base.name == self.head.name:
            return text
        first, _, rest = text.partition("\n")
        hint = "so head has nothing to be compared with: name a base that can be measured"
        return f"{first}; {hint}\n{rest}".strip()

    def _allot(self) -> None:
        """Divide the budget, if any, into pairs and samples; report the detectable slowdowns."""
        if math.isinf(self.seconds):
            return
        names = [_key(pairing) for pairing in self.pairings if not pairing.failure]
        known = {key: self.known[key[0]] for key in names if key[0] in self.known}
        allotments = budget.allot(names, known, self.seconds, self.rule)
        for pairing in self.pairings:
            if not pairing.failure:
                allotment = allotments[_key(pairing)]
                pairing.most, pairing.blocks = allotment.pairs, allotment.samples // 2
                if not pairing.control:
                    self.listen(Progress(0, 0, allotment_text(pairing.cell, allotment)))

    def prepare(self, side: Side, cell: str) -> Mapping[str, Any]:
        """Prepare a side's cell in a process of this side. Raises SideFailed."""
        with SideProcess(side, side.spec(self.words, cell, self.plan)) as process:
            value: Mapping[str, Any] = process.ask()["value"]
            return value

    def _sweep(
        self, pairings: Sequence[Pairing], shuffle: random.Random, kind: str, seconds: float
    ) -> None:
        """Take pairs until all cells are precise or have the most pairs, or `seconds` are over."""
        least, most = self.rule.least, self.rule.most

        def wants(pairing: Pairing, sweep: int) -> bool:
            return sweep < (pairing.most or most) and self._wants_more(pairing, kind, least)

        for sweep, pairing in rounds(pairings, most, wants, shuffle):
            if time.monotonic() - self._begin > seconds and sweep >= least:
                return
            pairs = f"{kind} {sweep + 1} of {least} to {pairing.most or most}"
            self.listen(Progress(sweep, most, f"{pairs}: {shown(pairing)}{self._left()}"))
            try:
                getattr(pairing, kind).append(take_pair(pairing, self.words, self.plan, shuffle))
            except SideFailed as error:
                pairing.failure = str(error)

    def _left(self) -> str:
        """The remaining budget as `, 3 min of the budget left`, or nothing without a budget."""
        if math.isinf(self.seconds):
            return ""
        left = max(0.0, self.seconds - (time.monotonic() - self._begin))
        if not left:
            return ", after the budget: the fewest pairs for a verdict"
        amount = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        return f", {amount} of the budget left"

    def _wants_more(self, pairing: Pairing, kind: str, least: int) -> bool:
        ratio = pairing.ratio(self.metrics[0], getattr(pairing, kind))
        return not pairing.failure and (
            ratio is None
            or ratio.sweeps < least
            or not paired_test.is_precise(ratio, rule_for(pairing, self.metrics[0], self.rule))
        )


def allotment_text(cell: str, allotment: budget.Allotment) -> str:
    """`resnet18-ort-fp32-cpu-b1: up to 20 pairs in about 60 s detect slowdowns from 3.7 %`."""
    pairs = f"up to {allotment.pairs} pairs in about {allotment.seconds:.0f} s"
    slowdown = f"{100 * allotment.detectable:.1f} %"
    history = "" if allotment.known else ", estimated without history"
    return f"{cell}: {pairs} detect slowdowns from {slowdown}{history}"


def shown(pairing: Pairing) -> str:
    """The cell of a pairing, marked if base is compared with base."""
    return f"{pairing.cell} (control)" if pairing.control else pairing.cell


def _key(pairing: Pairing) -> tuple[str, bool]:
    return pairing.cell, pairing.control
