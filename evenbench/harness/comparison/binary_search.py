"""Binary search over commits. The judge of a commit may be unable to answer.

Knows nothing of git or measurement, and never guesses: unanswered questions leave a range of
suspects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Answer = Literal["worse", "not worse", "inconclusive", "skipped"]
WORSE: Answer = "worse"
NOT_WORSE: Answer = "not worse"
INCONCLUSIVE: Answer = "inconclusive"
SKIPPED: Answer = "skipped"

Judge = Callable[[str], Answer | None]
"""Compares a commit with the good one; None ends the search, for example at the time limit."""


@dataclass(frozen=True)
class Narrowed:
    """The remaining suspects, in commit order.

    The last suspect is worse, every commit before the first suspect is not worse, and the state of
    the commits in between is unknown.
    """

    suspects: tuple[str, ...]
    stopped: bool = False
    """Whether the judge ended the search with questions left."""

    @property
    def first(self) -> str | None:
        """The first worse commit, or None with several suspects left."""
        return self.suspects[0] if len(self.suspects) == 1 else None


def narrow(commits: Sequence[str], judge: Judge) -> Narrowed:
    """Search for the first worse commit.

    `commits` follow the good commit, oldest first; the last is known to be worse. If a metric got
    worse, better and worse again, the search finds any of the steps: a worse commit with a parent
    that is not worse. Every question is about the middle of the longest unasked run of commits, so
    a stretch of commits without answers costs few questions. Raises ValueError without commits.
    """
    if not commits:
        raise ValueError("no commits to choose from")
    good, bad = -1, len(commits) - 1
    questions: set[int] = set()
    while (
        middle := _middle(index for index in range(good + 1, bad) if index not in questions)
    ) is not None:
        answer = judge(commits[middle])
        if answer is None:
            break
        questions.add(middle)
        if answer == WORSE:
            bad = middle
        elif answer == NOT_WORSE:
            good = middle
    return Narrowed(tuple(commits[good + 1 : bad + 1]), stopped=middle is not None)


def _middle(indices: Iterable[int]) -> int | None:
    """The middle of the longest run of consecutive indices, the first of equal runs, or None."""
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
    """The number of answered questions from `count` suspects to a single suspect."""
    return (count - 1).bit_length()
