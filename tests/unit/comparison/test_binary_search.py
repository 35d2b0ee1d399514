"""Binary search over commits, with invented judges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenbench.harness.comparison import binary_search
from evenbench.harness.comparison.binary_search import (
    INCONCLUSIVE,
    NOT_WORSE,
    SKIPPED,
    WORSE,
    Answer,
    Narrowed,
)


class Fake:
    """Commits `0`, `1`, ...: worse from `step` on; some cannot be judged, and after `patience`
    questions there is no answer.
    """

    def __init__(
        self, step: int, unknown: dict[int, Answer] | None = None, patience: int = 10**6
    ) -> None:
        self.step, self.unknown, self.patience = step, unknown or {}, patience
        self.asked: list[int] = []

    def __call__(self, commit: str) -> Answer | None:
        if len(self.asked) == self.patience:
            return None
        self.asked.append(int(commit))
        return self.unknown.get(int(commit), WORSE if int(commit) >= self.step else NOT_WORSE)


def commits(count: int) -> list[str]:
    return [str(index) for index in range(count)]


@given(
    st.integers(1, 200).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count - 1)))
)
def test_the_first_worse_commit_is_found_in_as_many_steps_as_a_binary_search_needs(
    case: tuple[int, int],
) -> None:
    count, step = case
    judge = Fake(step)
    assert binary_search.narrow(commits(count), judge).first == str(step)
    assert len(judge.asked) <= binary_search.steps_left(count)


@given(st.data())
def test_what_cannot_be_judged_leaves_the_smallest_range_that_is_certain(
    data: st.DataObject,
) -> None:
    count = data.draw(st.integers(1, 60))
    step = data.draw(st.integers(0, count - 1))
    unknown = (
        data.draw(
            st.dictionaries(st.integers(0, count - 2), st.sampled_from([SKIPPED, INCONCLUSIVE]))
        )
        if count > 1
        else {}
    )
    judge = Fake(step, unknown)
    found = binary_search.narrow(commits(count), judge)
    worse = min(index for index in range(step, count) if index not in unknown)
    better = max((index for index in range(step) if index not in unknown), default=-1)
    assert found == Narrowed(tuple(commits(count)[better + 1 : worse + 1]))
    assert len(set(judge.asked)) == len(judge.asked)  # nothing is asked twice
    assert (found.first is not None) == (worse - better == 1)


def test_a_stretch_that_cannot_be_built_is_not_walked_through() -> None:
    judge = Fake(3, dict.fromkeys(range(400, 600), SKIPPED))
    assert binary_search.narrow(commits(1000), judge).first == "3"
    assert len(judge.asked) < 20


def test_a_judge_without_time_leaves_the_range_so_far() -> None:
    found = binary_search.narrow(commits(16), Fake(5, patience=1))
    assert found == Narrowed(tuple(commits(8)), stopped=True)
    assert binary_search.narrow(commits(16), Fake(5)).stopped is False


def test_worse_and_better_and_worse_again_finds_one_of_the_steps() -> None:
    worse = {2, 3, 4, 8, 9, 10, 11}
    found = binary_search.narrow(
        commits(12), lambda commit: WORSE if int(commit) in worse else NOT_WORSE
    ).first
    assert found in ("2", "8")


def test_no_commits_are_refused() -> None:
    with pytest.raises(ValueError, match="no commits"):
        binary_search.narrow([], Fake(0))
