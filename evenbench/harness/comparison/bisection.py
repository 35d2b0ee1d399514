"""Bisection: searches for the first commit that made a cell worse, and reports the result."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evenbench.harness.comparison.binary_search import (
    INCONCLUSIVE,
    SKIPPED,
    WORSE,
    Answer,
    Narrowed,
    narrow,
)
from evenbench.harness.comparison.bisection_step import BisectionSettings, StepVerdict, judge_cells
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import to_json
from evenbench.harness.results import records

if TYPE_CHECKING:
    from evenbench.harness.comparison.git import Commit
    from evenbench.harness.comparison.side_process import Side


@dataclass(frozen=True)
class BisectionStep:
    """The verdict on a commit; `StepVerdict` describes the fields."""

    commit: Commit
    answer: Answer
    words: str
    ratio: float | None = None
    files: tuple[str, ...] = ()


@dataclass
class BisectionSearch:
    """A search: GOOD checked out, the commits after GOOD, and the steps so far."""

    good: Side
    commits: Sequence[Commit]
    settings: BisectionSettings
    report: Callable[[str], None]
    cell: str = ""
    """The cell to follow."""
    others: tuple[str, ...] = ()
    """Other cells that became worse; not followed."""
    steps: list[BisectionStep] = field(default_factory=list)

    def reproduces(self) -> bool:
        """Whether BAD is worse than GOOD in any cell; the search then follows the worst cell.

        Raises NothingToCompare if GOOD and BAD share no cell.
        """
        from evenbench.harness.comparison import sides
        from evenbench.harness.comparison.git import checked_out

        bad = self.commits[-1]
        with checked_out(bad) as side:
            pair = sides.in_common(self.good, side, self.settings.words, self.settings.plan)
            verdicts = judge_cells(pair, self.settings)
        worse = sorted(
            (cell for cell in verdicts if verdicts[cell].answer == WORSE),
            key=lambda cell: -(verdicts[cell].ratio or math.inf),
        )
        for cell, verdict in verdicts.items():
            self.report(f"{bad}: {cell} {verdict.answer}: {verdict.words}")
        self.cell, self.others = (worse or list(verdicts))[0], tuple(worse[1:])
        self.steps.append(BisectionStep(bad, **vars(verdicts[self.cell])))
        return bool(worse)

    def narrow(self) -> Narrowed:
        """Judge commits until one suspect is left, or no question is left to ask."""
        return narrow([commit.sha for commit in self.commits], self._judge)

    def _judge(self, sha: str) -> Answer | None:
        if self.settings.seconds_left() == 0:
            return None
        commit = next(commit for commit in self.commits if commit.sha == sha)
        verdict = self._verdict(commit)
        self.report(f"{commit}: {verdict.answer}: {verdict.words}")
        self.steps.append(BisectionStep(commit, **vars(verdict)))
        return verdict.answer

    def _verdict(self, commit: Commit) -> StepVerdict:
        from evenbench.harness.comparison import sides
        from evenbench.harness.comparison.git import checked_out

        with contextlib.ExitStack() as stack:
            try:
                side = stack.enter_context(checked_out(commit))
                declared = sides.declared(side, self.settings.words, self.settings.plan)
            except UsageError as error:
                return StepVerdict(SKIPPED, str(error))
            if self.cell not in declared:
                return StepVerdict(SKIPPED, f"does not declare {self.cell}")
            pair = sides.SidePair(self.good, side, {self.cell: self.cell})
            return judge_cells(pair, self.settings)[self.cell]


def record(good: Commit, search: BisectionSearch, narrowed: Narrowed | None) -> dict[str, Any]:
    """The search and the conclusion as a JSON value.

    `narrowed` is None if BAD is not worse than GOOD.
    """
    by_sha = {commit.sha: commit for commit in search.commits}
    suspects = [by_sha[sha] for sha in narrowed.suspects] if narrowed else []
    stopped = bool(narrowed and narrowed.stopped)
    return {
        "bisect": 1,
        "time": records.timestamp(),
        "good": to_json(good),
        "bad": to_json(search.commits[-1]),
        "cell": search.cell,
        "metric": search.settings.metric,
        "rule": to_json(search.settings.rule),
        "most": search.settings.most,
        "first": to_json(suspects[0]) if len(suspects) == 1 else None,
        "suspects": to_json(suspects),
        "stopped": stopped,
        "words": conclusion(good, search, suspects, stopped),
        "steps": to_json(search.steps),
    }


def conclusion(
    good: Commit, search: BisectionSearch, suspects: Sequence[Commit], stopped: bool
) -> list[str]:
    """Sentences for a person: the result of a search, and the next command to try."""
    if not suspects:
        return [_not_reproduced(good, search)]
    by_sha = {step.commit.sha: step for step in search.steps}
    change = f"the {search.settings.metric} of {search.cell}"
    if len(suspects) == 1:
        lines = list(_first_worse(suspects[0], by_sha[suspects[0].sha], change))
    else:
        lines = list(_suspects(suspects, by_sha, change))
        if stopped:
            lines.append("the time budget ran out; raise --budget, or start between the suspects")
        elif any(step.answer == INCONCLUSIVE for step in search.steps):
            lines.append("--most allows more pairs for inconclusive steps")
    skipped = [str(step.commit) for step in search.steps if step.answer == SKIPPED]
    if skipped:
        lines.append(f"skipped: {', '.join(skipped)}")
    if search.others:
        others = ", ".join(search.others)
        lines.append(f"also worse, but not followed: {others}; follow one with --cell")
    return lines


def _not_reproduced(good: Commit, search: BisectionSearch) -> str:
    last = search.steps[0]
    inconclusive = last.answer == INCONCLUSIVE
    hint = "raise --most for more pairs" if inconclusive else "nothing was searched"
    return (
        f"{good.short} to {last.commit.short} does not show the step: "
        f"{search.cell} is {last.answer}: {last.words}; {hint}"
    )


def _first_worse(commit: Commit, step: BisectionStep, change: str) -> Iterator[str]:
    yield f"{commit} is the first commit at which {change} is worse: {step.words}"
    if commit.parents > 1:
        commits = f"{commit.short}^1..{commit.short}"
        yield f"{commit.short} is a merge: `git log {commits}` lists its commits"


def _suspects(
    suspects: Sequence[Commit], by_sha: dict[str, BisectionStep], change: str
) -> Iterator[str]:
    yield f"one of {len(suspects)} commits made {change} worse:"
    for commit in suspects:
        step = by_sha.get(commit.sha)
        yield f"  {commit}: {f'{step.answer}: {step.words}' if step else 'not judged'}"
