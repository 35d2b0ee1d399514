"""The words about two times, and the correction for many words: of `run` and `compare` alike.

| word | when |
|---|---|
| `FASTER`, `SLOWER` | a difference is shown: from equal times (run), from the margin (comparison) |
| `EQUIVALENT` | the interval lies within a margin |
| `INCONCLUSIVE` | neither is shown: "not told apart" in reports |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Word = Literal["slower", "faster", "equivalent", "inconclusive"]

SLOWER: Word = "slower"
FASTER: Word = "faster"
EQUIVALENT: Word = "equivalent"
INCONCLUSIVE: Word = "inconclusive"

WORDS: tuple[Word, ...] = (SLOWER, FASTER, EQUIVALENT, INCONCLUSIVE)

DIFFERENCES: tuple[Word, ...] = (SLOWER, FASTER)


def opposite(word: Word) -> Word:
    """The word about the same two times in the other order."""
    return {SLOWER: FASTER, FASTER: SLOWER}.get(word, word)


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Hypotheses rejected at a family-wise `alpha` (S. Holm, Scand. J. Statistics 6, 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    rejected = [False] * len(p_values)
    for step, index in enumerate(order):
        if p_values[index] > alpha / (len(p_values) - step):
            break
        rejected[index] = True
    return rejected
