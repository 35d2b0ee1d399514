"""The commits between two, as one line: the first parents, so that a merge counts as one change."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness.comparison import git as comparison_git
from harness.comparison.side_process import Side
from harness.core.errors import UsageError


@dataclass(frozen=True)
class Commit:
    """One commit: its full hash, when and what (the first line of its message), and how many
    parents it has.
    """

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

    Raises UsageError for what is no commit, for a GOOD that is no ancestor of BAD, and where a
    clone is too shallow to tell.
    """
    ends = []
    for text in (good, bad):
        found = comparison_git.git("rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")
        if found is None:
            raise UsageError(f"{text} is no commit here; {comparison_git.why_no_commit()}")
        ends.append(found)
    if ends[0] == ends[1]:
        raise UsageError(f"{good} and {bad} are the same commit; name an earlier one that was good")
    if comparison_git.git("merge-base", "--is-ancestor", *ends) is None:
        shallow = comparison_git.git("rev-parse", "--is-shallow-repository") == "true"
        helps = (
            "the clone is shallow and may lack what joins them: `git fetch --unshallow`"
            if shallow
            else "are they the other way round?"
        )
        raise UsageError(
            f"{good} is no ancestor of {bad}, so no commit between them can have changed anything; {helps}"
        )
    span = f"{ends[0]}..{ends[1]}"
    # Two questions: with both flags in one, git leaves out the merge that brought GOOD in from a
    # side branch.
    descend = set((comparison_git.git("rev-list", "--ancestry-path", span) or "").split())
    shas = [
        sha
        for sha in (
            comparison_git.git("rev-list", "--first-parent", "--reverse", span) or ""
        ).split()
        if sha in descend
    ]
    return _commit(ends[0]), [_commit(sha) for sha in shas]


def places() -> dict[str, int]:
    """Where each commit up to HEAD stands in the project's history, parents before children; empty
    outside a repository.
    """
    return {
        sha: place
        for place, sha in enumerate(
            (comparison_git.git("rev-list", "--topo-order", "--reverse", "HEAD") or "").split()
        )
    }


def _commit(sha: str) -> Commit:
    date, parents, subject = (
        comparison_git.git("show", "-s", "--format=%cI%n%P%n%s", sha) or "\n\n"
    ).split("\n", 2)
    return Commit(sha, date, subject, len(parents.split()))


@contextlib.contextmanager
def checked_out(commit: Commit) -> Iterator[Side]:
    """A side that is the commit, named by its short hash. Raises UsageError where git cannot check
    it out.
    """
    with comparison_git.commit(commit.sha) as side:
        yield replace(side, name=commit.short)


HERE = "."


@contextlib.contextmanager
def commit(text: str) -> Iterator[Side]:
    """A commit checked out into a folder that is removed afterwards, or the working folder for `.`.
    Raises UsageError for neither.
    """
    if text == HERE:
        yield Side("working folder")
        return
    found = git("rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")
    if found is None:
        raise UsageError(
            f"{text} is neither a registered backend nor a commit here; {why_no_commit()}"
        )
    with tempfile.TemporaryDirectory(prefix="evenbench-") as folder:
        root = Path(folder).resolve() / found[:12]
        try:
            if git("worktree", "add", "--detach", "--quiet", str(root), found) is None:
                raise UsageError(
                    f"{text}: git could not check out {found[:12]} into a worktree; `git worktree prune` may help"
                )
            here = Path(git("rev-parse", "--show-prefix") or "")
            yield Side(text if text == found else f"{text} ({found[:8]})", root=root / here)
        finally:
            _remove_worktree(root)


def _remove_worktree(root: Path) -> None:
    """Have git forget a worktree, which is locked or half there where git was interrupted while it
    made it.
    """
    remove = ("worktree", "remove", "--force", "--force", str(root))
    if git(*remove) is None:
        shutil.rmtree(root, ignore_errors=True)
        git(*remove)


def why_no_commit() -> str:
    """What may be the reason that git does not know a commit here, and what to do."""
    if git("rev-parse", "--git-dir") is None:
        return "this folder is in no git repository"
    if git("rev-parse", "--is-shallow-repository") == "true":
        return "the clone is shallow and may lack it: `git fetch --unshallow`, or a checkout with its full history"
    return "`git fetch` may bring it; `evenbench doctor` lists the backends"


def git(*words: str) -> str | None:
    """What git answered, or None where it failed or is not there."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
