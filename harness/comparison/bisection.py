"""Which of a line of commits brought a change, asked of a judge that may also not know: binary
search with three answers, and skips.

Knows nothing of git or of measuring. It never guesses: what the judge cannot say leaves a range of
suspects.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.comparison import recording
from harness.core.errors import UsageError
from harness.core.types import Plan, to_json
from harness.results import records

if TYPE_CHECKING:
    from harness.comparison.budget import Past
    from harness.comparison.git import Commit
    from harness.comparison.session import Progress
    from harness.comparison.side_process import Side
    from harness.comparison.sides import Pair
    from harness.statistics.paired_test import Rule

Answer = Literal["worse", "not worse", "inconclusive", "skipped"]
WORSE: Answer = "worse"
NOT_WORSE: Answer = "not worse"
INCONCLUSIVE: Answer = "inconclusive"
SKIPPED: Answer = "skipped"

Judge = Callable[[str], Answer | None]
"""What a commit is against the good one; None ends the search, as when time is over."""


@dataclass(frozen=True)
class Narrowed:
    """What is left. `suspects` are in order: the last is worse, what came before the first is not,
    and between them nobody knows.
    """

    suspects: tuple[str, ...]
    stopped: bool = False
    """Whether the judge ended the search while there was more to ask."""

    @property
    def first(self) -> str | None:
        """The first commit that is worse, where only one is left."""
        return self.suspects[0] if len(self.suspects) == 1 else None


def narrow(commits: Sequence[str], judge: Judge) -> Narrowed:
    """The first worse one of `commits`: all that follow the good one, oldest first, the last of
    them known to be worse.

    Where it got worse, better and worse again, one of the steps is found: a commit that is worse
    whose parent is not. Each question is about the middle of the longest run that was not asked
    about, so that a stretch of commits that cannot be judged costs one question after another only
    when there is nothing else left. Raises ValueError where there are no commits.
    """
    if not commits:
        raise ValueError("no commits to choose from")
    good, bad = -1, len(commits) - 1
    asked: set[int] = set()
    while (
        middle := _middle(index for index in range(good + 1, bad) if index not in asked)
    ) is not None:
        answer = judge(commits[middle])
        if answer is None:
            break
        asked.add(middle)
        if answer == WORSE:
            bad = middle
        elif answer == NOT_WORSE:
            good = middle
    return Narrowed(tuple(commits[good + 1 : bad + 1]), stopped=middle is not None)


def _middle(indices: Iterable[int]) -> int | None:
    """The middle of the longest run of neighbours; of equal ones the first. None where there are
    none.
    """
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    if not runs:
        return None
    longest = max(runs, key=len)
    return longest[len(longest) // 2]


def steps_left(count: int) -> int:
    """How many questions narrow `count` suspects down to one, if each is answered."""
    return (count - 1).bit_length()


METRICS = ("latency", "memory", "artifact", "error", "cold start")


@dataclass(frozen=True)
class Step:
    """What one commit is against GOOD, and why, in words. `ratio` is of the metric, over GOOD;
    `files` hold every sample.
    """

    commit: Commit
    answer: Answer
    words: str
    ratio: float | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """What a cell is against GOOD; `Step` without its commit."""

    answer: Answer
    words: str
    ratio: float | None = None
    files: tuple[str, ...] = ()


@dataclass
class Asked:
    """What is asked of every step, and until when (`time.monotonic`). `most` limits the pairs where
    a step stays inconclusive.
    """

    words: Sequence[str]
    metric: str
    rule: Rule
    most: int
    plan: Plan
    seed: int
    folder: Path
    known: Mapping[str, Past]
    deadline: float
    listen: Callable[[Progress], None]

    def seconds_left(self) -> float:
        """Of the budget; infinite where there is none."""
        return max(0.0, self.deadline - time.monotonic())


def trials(pair: Pair, asked: Asked) -> dict[str, Trial]:
    """Each cell of a pair, tested; those that stay inconclusive with twice the pairs again, while
    none is worse and there is time.

    Every attempt has processes of its own: adding pairs to those that left it open would favour
    those that are off by chance.
    """
    from harness.comparison.verdicts import ARTIFACT

    if asked.metric == ARTIFACT:
        return _sizes(pair, asked)
    found: dict[str, Trial] = {}
    files: dict[str, tuple[str, ...]] = {}
    cells = dict(pair.cells)
    for attempt, most in enumerate(attempts(asked.rule.most, asked.most)):
        made, file = _session(replace(pair, cells=cells), asked, most, attempt)
        for cell, trial in made.items():
            files[cell] = (*files.get(cell, ()), str(file))
            found[cell] = replace(trial, files=files[cell])
        cells = {cell: name for cell, name in cells.items() if found[cell].answer == INCONCLUSIVE}
        if (
            not cells
            or asked.seconds_left() == 0
            or any(trial.answer == WORSE for trial in found.values())
        ):
            break
    return found


def attempts(pairs: int, most: int) -> Iterator[int]:
    """30, 60, 120: how many pairs at most an attempt may take."""
    while pairs <= most:
        yield pairs
        pairs *= 2


def _session(pair: Pair, asked: Asked, most: int, attempt: int) -> tuple[dict[str, Trial], Path]:
    """One paired session, recorded as `evenbench compare` records it."""
    from harness.comparison.exit_status import ending
    from harness.comparison.session import PairedSession

    # With more pairs the interval may be narrower before it is narrow enough: it shrinks with the
    # root of their number.
    rule = replace(
        asked.rule, most=most, precision=asked.rule.precision * math.sqrt(asked.rule.most / most)
    )
    session = PairedSession(
        *(pair.base, pair.head, asked.words, pair.cells, rule, asked.plan, asked.seed + attempt),
        seconds=asked.seconds_left(),
        known=asked.known,
        asked=(asked.metric,),
        listen=asked.listen,
    )
    session.prepare_all()
    session.seconds = asked.seconds_left()
    found = session.measure(session.pairings)
    file = recording.write(asked.folder, pair, rule, session.seed, found, ending(found))
    controls = [result for result in found if result["control"]]
    restless = any(
        result["failure"] or _verdict(result, asked.metric) in ("slower", "faster")
        for result in controls
    )
    made = {
        result["cell"]: trial_of(result, asked.metric, restless)
        for result in found
        if not result["control"]
    }
    return {
        **made,
        **{
            cell: Trial(SKIPPED, f"neither side can run it here: {why}")
            for cell, why in session.left_out.items()
        },
    }, file


def _verdict(result: Mapping[str, Any], metric: str) -> str:
    return (
        str(result["metrics"][metric]["screen"]["verdict"]) if metric in result["metrics"] else ""
    )


def trial_of(result: Mapping[str, Any], metric: str, restless: bool = False) -> Trial:
    """What a judged cell says of the metric. `restless`: the control of the same session alarmed,
    so that nothing in it counts.

    Not worse is what lies below the margin with its whole interval, whether equal or better.
    """
    from harness.comparison.exit_status import metric_words

    if result["failure"]:
        return Trial(SKIPPED, result["failure"])
    base, head = result["wrong"] or ("", "")
    if base:
        return Trial(SKIPPED, f"{result['sides'][0]} gives wrong answers: {base}")
    if head and metric == "error":
        return Trial(WORSE, f"gives wrong answers: {head}")
    if head:
        return Trial(
            SKIPPED, f"gives wrong answers: {head}; --metric error finds the commit that did that"
        )
    if metric not in result["metrics"]:
        return Trial(
            INCONCLUSIVE,
            f"{len(result['pairs'])} pairs with a {metric}, which are too few to be judged",
        )
    found = result["metrics"][metric]
    words, ratio = metric_words(metric, found), (found["confirmation"] or found["screen"])["ratio"]
    if restless:
        return Trial(
            INCONCLUSIVE, f"the null control, base against base, alarmed or failed; {words}", ratio
        )
    if found["verdict"] == "slower":
        return Trial(WORSE, words, ratio)
    if found["screen"]["high"] < 1 + found["margin"]:
        return Trial(NOT_WORSE, words, ratio)
    return Trial(INCONCLUSIVE, words, ratio)


def _sizes(pair: Pair, asked: Asked) -> dict[str, Trial]:
    """Artifacts have one size per commit, whatever is measured: preparing both sides decides it."""
    from harness.comparison.session import PairedSession, Progress
    from harness.comparison.side_process import SideFailed
    from harness.comparison.verdicts import ARTIFACT, MARGINS

    session = PairedSession(pair.base, pair.head, asked.words, pair.cells, asked.rule, asked.plan)
    found = {}
    for cell, declared in pair.cells.items():
        asked.listen(Progress(0, 0, f"preparing {cell}"))
        try:
            base, head = (
                session.prepare(side, declared)["artifact_bytes"] for side in (pair.base, pair.head)
            )
        except SideFailed as error:
            found[cell] = Trial(SKIPPED, str(error))
            continue
        answer = WORSE if head > base * (1 + MARGINS[ARTIFACT]) else NOT_WORSE
        words = f"artifact from {base} to {head} bytes, margin {100 * MARGINS[ARTIFACT]:g} %"
        found[cell] = Trial(answer, words, head / base if base else None)
    return found


# -- the search ------------------------------------------------------------------------------------


@dataclass
class Search:
    """GOOD checked out, the cell that became worse, and the steps so far."""

    good: Side
    commits: Sequence[Commit]
    asked: Asked
    tell: Callable[[str], None]
    cell: str = ""
    others: tuple[str, ...] = ()
    """Other cells that became worse too, and are not followed."""
    steps: list[Step] = field(default_factory=list)

    def shows(self) -> bool:
        """Whether GOOD and BAD differ as is claimed; chooses the cell that became worse most.
        Raises NothingToCompare.
        """
        from harness.comparison import sides
        from harness.comparison.git import checked_out

        bad = self.commits[-1]
        with checked_out(bad) as side:
            pair = sides.in_common(self.good, side, self.asked.words, self.asked.plan)
            found = trials(pair, self.asked)
        worse = sorted(
            (cell for cell in found if found[cell].answer == WORSE),
            key=lambda cell: -(found[cell].ratio or math.inf),
        )
        for cell, trial in found.items():
            self.tell(f"{bad}: {cell} {trial.answer}: {trial.words}")
        self.cell, self.others = (worse or list(found))[0], tuple(worse[1:])
        self.steps.append(Step(bad, **vars(found[self.cell])))
        return bool(worse)

    def narrowed(self) -> Narrowed:
        """Ask commit after commit until one is left, or there is nothing more to ask."""
        return narrow([commit.sha for commit in self.commits], self._judge)

    def _judge(self, sha: str) -> Answer | None:
        if self.asked.seconds_left() == 0:
            return None
        commit = next(commit for commit in self.commits if commit.sha == sha)
        trial = self._trial(commit)
        self.tell(f"{commit}: {trial.answer}: {trial.words}")
        self.steps.append(Step(commit, **vars(trial)))
        return trial.answer

    def _trial(self, commit: Commit) -> Trial:
        from harness.comparison import sides
        from harness.comparison.git import checked_out
        from harness.comparison.sides import Pair

        with contextlib.ExitStack() as stack:
            try:
                side = stack.enter_context(checked_out(commit))
                declared = sides.declared(side, self.asked.words, self.asked.plan)
            except UsageError as error:
                return Trial(SKIPPED, str(error))
            if self.cell not in declared:
                return Trial(SKIPPED, f"does not declare {self.cell}")
            return trials(Pair(self.good, side, {self.cell: self.cell}), self.asked)[self.cell]


def told(good: Commit, search: Search, narrowed: Narrowed | None) -> dict[str, Any]:
    """The search as one JSON value, with its end in words. `narrowed` is None where GOOD and BAD do
    not show the step.
    """
    by_sha = {commit.sha: commit for commit in search.commits}
    suspects = [by_sha[sha] for sha in narrowed.suspects] if narrowed else []
    return {
        "bisect": 1,
        "time": records.timestamp(),
        "good": to_json(good),
        "bad": to_json(search.commits[-1]),
        "cell": search.cell,
        "metric": search.asked.metric,
        "rule": to_json(search.asked.rule),
        "most": search.asked.most,
        "first": to_json(suspects[0]) if len(suspects) == 1 else None,
        "suspects": to_json(suspects),
        "stopped": bool(narrowed and narrowed.stopped),
        "words": words_of(good, search, suspects, bool(narrowed and narrowed.stopped)),
        "steps": to_json(search.steps),
    }


def words_of(good: Commit, search: Search, suspects: Sequence[Commit], stopped: bool) -> list[str]:
    """The end of a search, and what to do next."""
    metric, last = search.asked.metric, search.steps[0]
    if not suspects:
        helps = (
            "more --most pairs may decide it"
            if last.answer == INCONCLUSIVE
            else "nothing was searched"
        )
        return [
            f"{good.short} to {last.commit.short} does not show the step: {search.cell} is {last.answer}: {last.words}; {helps}"
        ]
    answers = {step.commit.sha: step for step in search.steps}
    if len(suspects) == 1:
        lines = [
            f"{suspects[0]} is the first commit at which the {metric} of {search.cell} is worse: {answers[suspects[0].sha].words}"
        ]
        if suspects[0].parents > 1:
            lines.append(
                f"it is a merge: `git log {suspects[0].short}^1..{suspects[0].short}` lists what it brought"
            )
    else:
        lines = [f"one of {len(suspects)} commits made the {metric} of {search.cell} worse:"]
        for commit in suspects:
            step = answers.get(commit.sha)
            lines.append(f"  {commit}: {f'{step.answer}: {step.words}' if step else 'not asked'}")
        if stopped:
            lines.append("the budget was over; raise --budget, or begin between the suspects")
        elif any(step.answer == INCONCLUSIVE for step in search.steps):
            lines.append("--most allows more pairs for what is inconclusive")
    skipped = [str(step.commit) for step in search.steps if step.answer == SKIPPED]
    if skipped:
        lines.append(f"skipped: {', '.join(skipped)}")
    if search.others:
        lines.append(
            f"worse too, and not followed: {', '.join(search.others)}; follow one with --cell"
        )
    return lines
