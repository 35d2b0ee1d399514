"""A step of a bisection: compares GOOD with a commit in a paired session."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.comparison import recording
from evenbench.harness.comparison.binary_search import (
    INCONCLUSIVE,
    NOT_WORSE,
    SKIPPED,
    WORSE,
    Answer,
)
from evenbench.harness.core.plans import Plan
from evenbench.harness.statistics.words import DIFFERENCES, SLOWER

if TYPE_CHECKING:
    from evenbench.harness.comparison.budget import Past
    from evenbench.harness.comparison.session import Progress
    from evenbench.harness.comparison.sides import SidePair
    from evenbench.harness.statistics.paired_test import Rule

METRICS = ("latency", "memory", "artifact", "error", "cold start")


@dataclass(frozen=True)
class StepVerdict:
    """The verdict on a cell at a commit, compared with GOOD.

    `ratio` is commit over GOOD for the metric; `files` are the recorded comparisons.
    """

    answer: Answer
    words: str
    ratio: float | None = None
    files: tuple[str, ...] = ()


@dataclass
class BisectionSettings:
    """The settings of all steps of a bisection.

    `words` select cells on the command line of `evenbench list`. An inconclusive step is repeated
    with more pairs, up to `most`. `deadline` is a value of `time.monotonic`.
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
        """The rest of the time budget; infinite without a budget."""
        return max(0.0, self.deadline - time.monotonic())


def judge_cells(pair: SidePair, settings: BisectionSettings) -> dict[str, StepVerdict]:
    """Judge every cell of a pair of sides.

    Inconclusive cells are measured again with twice the pairs, until a cell is worse or time is
    over. Every attempt starts new processes: adding pairs to an inconclusive session would favour
    chance deviations.
    """
    from evenbench.harness.comparison.verdicts import ARTIFACT

    if settings.metric == ARTIFACT:
        return _judge_sizes(pair, settings)
    verdicts: dict[str, StepVerdict] = {}
    files: dict[str, tuple[str, ...]] = {}
    cells = dict(pair.cells)
    for attempt, most in enumerate(pair_limits(settings.rule.most, settings.most)):
        judged, file = _measure(replace(pair, cells=cells), settings, most, attempt)
        for cell, verdict in judged.items():
            files[cell] = (*files.get(cell, ()), str(file))
            verdicts[cell] = replace(verdict, files=files[cell])
        cells = {
            cell: name for cell, name in cells.items() if verdicts[cell].answer == INCONCLUSIVE
        }
        if (
            not cells
            or settings.seconds_left() == 0
            or any(verdict.answer == WORSE for verdict in verdicts.values())
        ):
            break
    return verdicts


def pair_limits(pairs: int, most: int) -> Iterator[int]:
    """The most pairs of every attempt: 30, 60, 120."""
    while pairs <= most:
        yield pairs
        pairs *= 2


def _measure(
    pair: SidePair, settings: BisectionSettings, most: int, attempt: int
) -> tuple[dict[str, StepVerdict], Path]:
    """Run a paired session and record the comparison like `evenbench compare`."""
    from evenbench.harness.comparison.exit_status import ending
    from evenbench.harness.comparison.session import PairedSession

    # The interval shrinks with the root of the number of pairs, so more pairs allow a narrower one.
    precision = settings.rule.precision * math.sqrt(settings.rule.most / most)
    rule = replace(settings.rule, most=most, precision=precision)
    session = PairedSession(
        *(pair.base, pair.head, settings.words, pair.cells, rule, settings.plan),
        settings.seed + attempt,
        seconds=settings.seconds_left(),
        known=settings.known,
        metrics=(settings.metric,),
        listen=settings.listen,
    )
    session.prepare_all()
    session.seconds = settings.seconds_left()
    results = session.measure(session.pairings)
    file = recording.write(settings.folder, pair, rule, session.seed, results, ending(results))
    alarmed = _control_alarmed(results, settings.metric)
    verdicts = {
        result["cell"]: verdict_of(result, settings.metric, alarmed)
        for result in results
        if not result["control"]
    }
    return {
        **verdicts,
        **{
            cell: StepVerdict(SKIPPED, f"neither side can run it here: {reason}")
            for cell, reason in session.left_out.items()
        },
    }, file


def _control_alarmed(results: Sequence[Mapping[str, Any]], metric: str) -> bool:
    """Whether a null control of the session failed or alarmed."""
    return any(
        result["failure"] or _screened(result, metric) in DIFFERENCES
        for result in results
        if result["control"]
    )


def _screened(result: Mapping[str, Any], metric: str) -> str:
    judged = result["metrics"].get(metric)
    return str(judged["screen"]["verdict"]) if judged else ""


def verdict_of(
    result: Mapping[str, Any], metric: str, control_alarmed: bool = False
) -> StepVerdict:
    """The verdict of a step from a result of a paired session.

    Rule: `worse` is a confirmed slowdown. `not worse` is a 99 % interval entirely below the margin,
    so equal and better cells are both not worse. Anything else is inconclusive, and everything is
    inconclusive if the null control of the session alarmed or failed.
    """
    if unusable := _unusable(result, metric):
        return unusable
    if metric not in result["metrics"]:
        return StepVerdict(
            INCONCLUSIVE,
            f"{len(result['pairs'])} pairs with a {metric}, too few for a verdict",
        )
    from evenbench.harness.comparison.exit_status import metric_words

    judged = result["metrics"][metric]
    words = metric_words(metric, judged)
    ratio = (judged["confirmation"] or judged["screen"])["ratio"]
    if control_alarmed:
        reason = "the null control, base against base, alarmed or failed"
        return StepVerdict(INCONCLUSIVE, f"{reason}; {words}", ratio)
    if judged["verdict"] == SLOWER:
        return StepVerdict(WORSE, words, ratio)
    if judged["screen"]["high"] < 1 + judged["margin"]:
        return StepVerdict(NOT_WORSE, words, ratio)
    return StepVerdict(INCONCLUSIVE, words, ratio)


def _unusable(result: Mapping[str, Any], metric: str) -> StepVerdict | None:
    """The verdict of a cell that failed or has wrong outputs, otherwise None."""
    if result["failure"]:
        return StepVerdict(SKIPPED, result["failure"])
    base, head = result["wrong"] or ("", "")
    if base:
        return StepVerdict(SKIPPED, f"{result['sides'][0]} has wrong outputs: {base}")
    if head and metric == "error":
        return StepVerdict(WORSE, f"wrong outputs: {head}")
    if head:
        hint = "bisect with --metric error to find the commit with the first wrong outputs"
        return StepVerdict(SKIPPED, f"wrong outputs: {head}; {hint}")
    return None


def _judge_sizes(pair: SidePair, settings: BisectionSettings) -> dict[str, StepVerdict]:
    """Judge artifact sizes. Sizes have no noise, so preparing both sides is enough."""
    from evenbench.harness.comparison.session import PairedSession, Progress
    from evenbench.harness.comparison.side_process import SideFailed
    from evenbench.harness.comparison.verdicts import ARTIFACT, MARGINS

    session = PairedSession(
        pair.base, pair.head, settings.words, pair.cells, settings.rule, settings.plan
    )
    verdicts = {}
    for cell, declared in pair.cells.items():
        settings.listen(Progress(0, 0, f"preparing {cell}"))
        try:
            base, head = (
                session.prepare(side, declared)["artifact_bytes"] for side in (pair.base, pair.head)
            )
        except SideFailed as error:
            verdicts[cell] = StepVerdict(SKIPPED, str(error))
            continue
        answer = WORSE if head > base * (1 + MARGINS[ARTIFACT]) else NOT_WORSE
        words = f"artifact from {base} to {head} bytes, margin {100 * MARGINS[ARTIFACT]:g} %"
        verdicts[cell] = StepVerdict(answer, words, head / base if base else None)
    return verdicts
