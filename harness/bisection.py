"""`evenbench bisect GOOD BAD`: the first commit at which a cell became worse, each step a paired test against GOOD.

A step has four ends: worse, not worse, inconclusive, and skipped, where a commit cannot be built or does not declare the cell. An
inconclusive one is measured again with twice as many pairs, up to a limit, and is never guessed: what stays open is answered with a
range of suspects. The commits are those of the first-parent line, so that a merge counts as one change.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import codes, compare, results, targets, terminal, worker
from harness.suspects import INCONCLUSIVE, NOT_WORSE, SKIPPED, WORSE, Answer, Narrowed, narrow, steps_left
from harness.types import PLANS, Plan, UsageError, to_json

if TYPE_CHECKING:
    from rich.console import Console

    from harness.commits import Commit
    from harness.conversation import Side
    from harness.gate import Rule
    from harness.paired import Progress
    from harness.planner import Past
    from harness.sides import Pair

METRICS = ("latency", "memory", "artifact", "error", "cold start")
FOUND, OPEN = 0, 1

EPILOG = """\
  evenbench bisect v1.2 HEAD -k "resnet18 and ort"       the commit that made it slower
  evenbench bisect v1.2 HEAD --metric artifact           the commit that made a file larger; nothing is timed
  evenbench bisect v1.2 HEAD --cell ID --budget 1h       what is known after an hour

Every step is a whole `evenbench compare` of GOOD with one commit, and is recorded like one. Where GOOD and BAD themselves do not
differ, there is nothing to find, and that is said. Of several cells that became worse, the one that did so most is followed.

exit codes:
  0  one commit was found
  1  a range of suspects is left, or GOOD and BAD do not show the step
  2  interrupted: the steps so far lie in the results folder
  3  a fault of evenbench itself, with its traceback
  4  what was asked for cannot be: GOOD is no ancestor of BAD, the clone is too shallow
  5  no cell that GOOD and BAD both have
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    command.add_argument("good", metavar="GOOD", help="a commit at which the cell was as it should be")
    command.add_argument("bad", metavar="BAD", help="a later commit at which it is worse")
    targets.add_arguments(command)
    command.add_argument("--metric", choices=METRICS, default="latency", help="what became worse (latency)")
    command.add_argument("--margin", type=float, default=0.02, help="relative slowdown that does not matter (0.02)")
    command.add_argument("--pairs", type=int, default=30, metavar="N", help="of processes at most, at first (30)")
    command.add_argument("--most", type=int, default=120, metavar="N", help="of processes at most, where a step stays inconclusive (120)")
    command.add_argument("--budget", default="", metavar="TIME", help="answer with what is known after 90s, 5m or 1h")
    command.add_argument("--plan", choices=sorted(PLANS), default="default", help="whose warm-up and timeout (default)")
    command.add_argument("--seed", type=int, default=0, help="of all orders (0)")
    command.add_argument("--results", default="results", metavar="DIR", help="where every step is written (results)")
    command.add_argument("--json", action="store_true", help="one JSON value on standard output instead of text")


@dataclass(frozen=True)
class Step:
    """What one commit is against GOOD, and why, in words. `ratio` is of the metric, over GOOD; `files` hold every sample."""

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
    """What is asked of every step, and until when (`time.monotonic`). `most` limits the pairs where a step stays inconclusive."""

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
    """Each cell of a pair, tested; those that stay inconclusive with twice the pairs again, while none is worse and there is time.

    Every attempt has processes of its own: adding pairs to those that left it open would favour those that are off by chance.
    """
    from harness.pairing import ARTIFACT

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
        if not cells or asked.seconds_left() == 0 or any(trial.answer == WORSE for trial in found.values()):
            break
    return found


def attempts(pairs: int, most: int) -> Iterator[int]:
    """30, 60, 120: how many pairs at most an attempt may take."""
    while pairs <= most:
        yield pairs
        pairs *= 2


def _session(pair: Pair, asked: Asked, most: int, attempt: int) -> tuple[dict[str, Trial], Path]:
    """One paired session, recorded as `evenbench compare` records it."""
    from harness.ending import ending
    from harness.paired import Session

    # With more pairs the interval may be narrower before it is narrow enough: it shrinks with the root of their number.
    rule = replace(asked.rule, most=most, precision=asked.rule.precision * math.sqrt(asked.rule.most / most))
    session = Session(
        *(pair.base, pair.head, asked.words, pair.cells, rule, asked.plan, asked.seed + attempt),
        seconds=asked.seconds_left(),
        known=asked.known,
        asked=(asked.metric,),
        listen=asked.listen,
    )
    session.prepare_all()
    session.seconds = asked.seconds_left()
    found = session.measure(session.pairings)
    file = compare.write(asked.folder, pair, rule, session.seed, found, ending(found))
    controls = [result for result in found if result["control"]]
    restless = any(result["failure"] or _verdict(result, asked.metric) in ("slower", "faster") for result in controls)
    made = {result["cell"]: trial_of(result, asked.metric, restless) for result in found if not result["control"]}
    return {**made, **{cell: Trial(SKIPPED, f"neither side can run it here: {why}") for cell, why in session.left_out.items()}}, file


def _verdict(result: Mapping[str, Any], metric: str) -> str:
    return str(result["metrics"][metric]["screen"]["verdict"]) if metric in result["metrics"] else ""


def trial_of(result: Mapping[str, Any], metric: str, restless: bool = False) -> Trial:
    """What a judged cell says of the metric. `restless`: the control of the same session alarmed, so that nothing in it counts.

    Not worse is what lies below the margin with its whole interval, whether equal or better.
    """
    from harness.ending import metric_words

    if result["failure"]:
        return Trial(SKIPPED, result["failure"])
    base, head = result["wrong"] or ("", "")
    if base:
        return Trial(SKIPPED, f"{result['sides'][0]} gives wrong answers: {base}")
    if head and metric == "error":
        return Trial(WORSE, f"gives wrong answers: {head}")
    if head:
        return Trial(SKIPPED, f"gives wrong answers: {head}; --metric error finds the commit that did that")
    if metric not in result["metrics"]:
        return Trial(INCONCLUSIVE, f"{len(result['pairs'])} pairs with a {metric}, which are too few to be judged")
    found = result["metrics"][metric]
    words, ratio = metric_words(metric, found), (found["confirmation"] or found["screen"])["ratio"]
    if restless:
        return Trial(INCONCLUSIVE, f"the null control, base against base, alarmed or failed; {words}", ratio)
    if found["verdict"] == "slower":
        return Trial(WORSE, words, ratio)
    if found["screen"]["high"] < 1 + found["margin"]:
        return Trial(NOT_WORSE, words, ratio)
    return Trial(INCONCLUSIVE, words, ratio)


def _sizes(pair: Pair, asked: Asked) -> dict[str, Trial]:
    """Artifacts have one size per commit, whatever is measured: preparing both sides decides it."""
    from harness.conversation import ArmFailed
    from harness.paired import Progress, Session
    from harness.pairing import ARTIFACT, MARGINS

    session = Session(pair.base, pair.head, asked.words, pair.cells, asked.rule, asked.plan)
    found = {}
    for cell, declared in pair.cells.items():
        asked.listen(Progress(0, 0, f"preparing {cell}"))
        try:
            base, head = (session.prepare(side, declared)["artifact_bytes"] for side in (pair.base, pair.head))
        except ArmFailed as error:
            found[cell] = Trial(SKIPPED, str(error))
            continue
        answer = WORSE if head > base * (1 + MARGINS[ARTIFACT]) else NOT_WORSE
        words = f"artifact from {base} to {head} bytes, margin {100 * MARGINS[ARTIFACT]:g} %"
        found[cell] = Trial(answer, words, head / base if base else None)
    return found


# -- the search ------------------------------------------------------------------------------------------------------


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
        """Whether GOOD and BAD differ as is claimed; chooses the cell that became worse most. Raises NothingToCompare."""
        from harness import sides
        from harness.commits import checked_out

        bad = self.commits[-1]
        with checked_out(bad) as side:
            pair = sides.in_common(self.good, side, self.asked.words, self.asked.plan)
            found = trials(pair, self.asked)
        worse = sorted((cell for cell in found if found[cell].answer == WORSE), key=lambda cell: -(found[cell].ratio or math.inf))
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
        from harness import sides
        from harness.commits import checked_out
        from harness.sides import Pair

        with contextlib.ExitStack() as stack:
            try:
                side = stack.enter_context(checked_out(commit))
                declared = sides.declared(side, self.asked.words, self.asked.plan)
            except UsageError as error:
                return Trial(SKIPPED, str(error))
            if self.cell not in declared:
                return Trial(SKIPPED, f"does not declare {self.cell}")
            return trials(Pair(self.good, side, {self.cell: self.cell}), self.asked)[self.cell]


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The command's words, for those who call `search` themselves."""
    parser = argparse.ArgumentParser(prog="evenbench bisect", allow_abbrev=False)
    add_arguments(parser)
    return parser.parse_args(list(words))


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    import sys

    from harness.sides import NothingToCompare

    try:
        value = search(options, terminal.console(stderr=True))
    except NothingToCompare as error:
        print(f"evenbench: error: {error}", file=sys.stderr)
        return codes.NOTHING
    if options.json:
        print(json.dumps(value))
    else:
        console = terminal.console()
        console.print("\n".join(value["words"]), markup=False, soft_wrap=True)
        console.print(value["file"], markup=False, soft_wrap=True)
    return FOUND if value["first"] else OPEN


def search(options: argparse.Namespace, notes: Console) -> dict[str, Any]:
    """Find the commit, and keep what was found in the results folder. Raises NothingToCompare where the commits share no cell."""
    from harness import gate, planner
    from harness.commits import checked_out, line
    from harness.pairing import MARGINS

    assert set(METRICS) == set(MARGINS)
    worker.interrupt_when_ended()
    if options.most < options.pairs:
        raise UsageError(f"--most {options.most} is less than --pairs {options.pairs}, with which every step begins; raise it")
    deadline = time.monotonic() + compare.seconds_of(options.budget)
    rule = gate.Rule(margin=options.margin, most=options.pairs, least=min(gate.FEWEST_PAIRS, options.pairs))
    good, commits = line(options.good, options.bad)
    folder = results.folder(Path(options.results))
    known = planner.pasts(compare.earlier(folder))
    notes.print(f"{len(commits)} commits after {good}, so about {1 + steps_left(len(commits))} steps", markup=False, soft_wrap=True)
    with checked_out(good) as side, compare.listener(notes) as listen:
        plan = PLANS[options.plan]
        words = compare.words_of(options)
        asked = Asked(words, options.metric, rule, options.most, plan, options.seed, folder, known, deadline, listen)
        searched = Search(side, commits, asked, lambda words: notes.print(words, markup=False, soft_wrap=True))
        narrowed = searched.narrowed() if searched.shows() else None
    value = told(good, searched, narrowed)
    file = folder / f"bisect-{value['time'].replace(':', '-')}.json"
    file.write_text(json.dumps(value))
    return {**value, "file": str(file)}


def told(good: Commit, search: Search, narrowed: Narrowed | None) -> dict[str, Any]:
    """The search as one JSON value, with its end in words. `narrowed` is None where GOOD and BAD do not show the step."""
    by_sha = {commit.sha: commit for commit in search.commits}
    suspects = [by_sha[sha] for sha in narrowed.suspects] if narrowed else []
    return {
        "bisect": 1,
        "time": results.timestamp(),
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
        helps = "more --most pairs may decide it" if last.answer == INCONCLUSIVE else "nothing was searched"
        return [f"{good.short} to {last.commit.short} does not show the step: {search.cell} is {last.answer}: {last.words}; {helps}"]
    answers = {step.commit.sha: step for step in search.steps}
    if len(suspects) == 1:
        lines = [f"{suspects[0]} is the first commit at which the {metric} of {search.cell} is worse: {answers[suspects[0].sha].words}"]
        if suspects[0].parents > 1:
            lines.append(f"it is a merge: `git log {suspects[0].short}^1..{suspects[0].short}` lists what it brought")
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
        lines.append(f"worse too, and not followed: {', '.join(search.others)}; follow one with --cell")
    return lines
