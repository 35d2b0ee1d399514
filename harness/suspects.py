"""Which of a line of commits brought a change, asked of a judge that may also not know: binary search with three answers, and skips.

Knows nothing of git or of measuring. It never guesses: what the judge cannot say leaves a range of suspects.
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
"""What a commit is against the good one; None ends the search, as when time is over."""


@dataclass(frozen=True)
class Narrowed:
    """What is left. `suspects` are in order: the last is worse, what came before the first is not, and between them nobody knows."""

    suspects: tuple[str, ...]
    stopped: bool = False
    """Whether the judge ended the search while there was more to ask."""

    @property
    def first(self) -> str | None:
        """The first commit that is worse, where only one is left."""
        return self.suspects[0] if len(self.suspects) == 1 else None


def narrow(commits: Sequence[str], judge: Judge) -> Narrowed:
    """The first worse one of `commits`: all that follow the good one, oldest first, the last of them known to be worse.

    Where it got worse, better and worse again, one of the steps is found: a commit that is worse whose parent is not. Each question
    is about the middle of the longest run that was not asked about, so that a stretch of commits that cannot be judged costs
    one question after another only when there is nothing else left. Raises ValueError where there are no commits.
    """
    if not commits:
        raise ValueError("no commits to choose from")
    good, bad = -1, len(commits) - 1
    asked: set[int] = set()
    while (middle := _middle(index for index in range(good + 1, bad) if index not in asked)) is not None:
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
    """The middle of the longest run of neighbours; of equal ones the first. None where there are none."""
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
