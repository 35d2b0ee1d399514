"""The commits between two, as one line: the first parents, so that a merge counts as one change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness import sides
from harness.conversation import Side
from harness.types import UsageError


@dataclass(frozen=True)
class Commit:
    """One commit: its full hash, when and what (the first line of its message), and how many parents it has."""

    sha: str
    date: str
    subject: str
    parents: int = 1

    @property
    def short(self) -> str:
        """Eight digits, as people write it."""
        return self.sha[:8]

    def __str__(self) -> str:
        return f"{self.short} {self.subject}"


def line(good: str, bad: str) -> tuple[Commit, list[Commit]]:
    """GOOD, and the commits after it up to BAD, oldest first, merges as one commit each.

    Raises UsageError for what is no commit, for a GOOD that is no ancestor of BAD, and where a clone is too shallow to tell.
    """
    ends = []
    for text in (good, bad):
        found = sides.git("rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")
        if found is None:
            raise UsageError(f"{text} is no commit here; {sides.why_no_commit()}")
        ends.append(found)
    if ends[0] == ends[1]:
        raise UsageError(f"{good} and {bad} are the same commit; name an earlier one that was good")
    if sides.git("merge-base", "--is-ancestor", *ends) is None:
        shallow = sides.git("rev-parse", "--is-shallow-repository") == "true"
        helps = "the clone is shallow and may lack what joins them: `git fetch --unshallow`" if shallow else "are they the other way round?"
        raise UsageError(f"{good} is no ancestor of {bad}, so no commit between them can have changed anything; {helps}")
    span = f"{ends[0]}..{ends[1]}"
    # Two questions: with both flags in one, git leaves out the merge that brought GOOD in from a side branch.
    descend = set((sides.git("rev-list", "--ancestry-path", span) or "").split())
    shas = [sha for sha in (sides.git("rev-list", "--first-parent", "--reverse", span) or "").split() if sha in descend]
    return _commit(ends[0]), [_commit(sha) for sha in shas]


def places() -> dict[str, int]:
    """Where each commit up to HEAD stands in the project's history, parents before children; empty outside a repository."""
    return {sha: place for place, sha in enumerate((sides.git("rev-list", "--topo-order", "--reverse", "HEAD") or "").split())}


def _commit(sha: str) -> Commit:
    date, parents, subject = (sides.git("show", "-s", "--format=%cI%n%P%n%s", sha) or "\n\n").split("\n", 2)
    return Commit(sha, date, subject, len(parents.split()))


@contextlib.contextmanager
def checked_out(commit: Commit) -> Iterator[Side]:
    """A side that is the commit, named by its short hash. Raises UsageError where git cannot check it out."""
    with sides.commit(commit.sha) as side:
        yield replace(side, name=commit.short)
