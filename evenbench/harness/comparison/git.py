"""Git: the commits between two commits, and commits checked out as sides of a comparison."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from evenbench.harness.comparison.side_process import Side
from evenbench.harness.core.errors import UsageError
from evenbench.harness.environment import git_command, temporary_folders
from evenbench.harness.runner import module_origins
from evenbench.harness.runner.module_origins import Origin

HERE = "."
"""The name of the working folder in place of a commit."""


@dataclass(frozen=True)
class Commit:
    """A commit: full hash, date, first line of the message, and number of parents."""

    sha: str
    date: str
    subject: str
    parents: int = 1

    @property
    def short(self) -> str:
        """The first eight hexadecimal digits of the hash."""
        return self.sha[:8]

    def __str__(self) -> str:
        return f"{self.short} {self.subject}"


def first_parent_line(good: str, bad: str) -> tuple[Commit, list[Commit]]:
    """GOOD, and the commits after GOOD up to BAD, oldest first.

    Follows first parents, so a merge counts as one change. Raises UsageError for unknown commits,
    for a GOOD that is no ancestor of BAD, and for a clone too shallow to decide.
    """
    shas = [_sha(text) for text in (good, bad)]
    if shas[0] == shas[1]:
        raise UsageError(f"{good} and {bad} are the same commit; name an earlier good commit")
    if git("merge-base", "--is-ancestor", *shas) is None:
        raise UsageError(
            f"{good} is no ancestor of {bad}, so there are no commits to search; "
            f"{_why_no_ancestor()}"
        )
    span = f"{shas[0]}..{shas[1]}"
    # Two commands: with both flags in one, git omits the merge that brought GOOD in from a side
    # branch.
    descendants = set((git("rev-list", "--ancestry-path", span) or "").split())
    first_parents = (git("rev-list", "--first-parent", "--reverse", span) or "").split()
    return _commit(shas[0]), [_commit(sha) for sha in first_parents if sha in descendants]


def _sha(text: str) -> str:
    sha = hash_of(text)
    if sha is None:
        raise UsageError(f"{text} is no commit here; {why_no_commit()}")
    return sha


def hash_of(text: str) -> str | None:
    """The full hash of a commit, or None if `text` names none."""
    return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")


def _why_no_ancestor() -> str:
    if git("rev-parse", "--is-shallow-repository") == "true":
        return "the clone is shallow and may lack commits: `git fetch --unshallow`"
    return "are they the other way round?"


def positions() -> dict[str, int]:
    """The position of each commit up to HEAD, parents before children; empty outside git."""
    shas = (git("rev-list", "--topo-order", "--reverse", "HEAD") or "").split()
    return {sha: position for position, sha in enumerate(shas)}


def _commit(sha: str) -> Commit:
    shown = git("show", "-s", "--format=%cI%n%P%n%s", sha) or "\n\n"
    date, parents, subject = shown.split("\n", 2)
    # A message in another encoding than the declared one: shown with replaced letters.
    readable = subject.encode(errors="surrogateescape").decode(errors="replace")
    return Commit(sha, date, readable, len(parents.split()))


@contextlib.contextmanager
def checked_out(commit: Commit) -> Iterator[Side]:
    """The commit as a side, named by the short hash. Raises UsageError if the checkout fails."""
    with side_of(commit.sha) as side:
        yield replace(side, name=commit.short)


@contextlib.contextmanager
def side_of(text: str) -> Iterator[Side]:
    """A commit checked out into a temporary folder, or the working folder for `.`.

    The folder is removed afterwards. Raises UsageError for an unknown commit.
    """
    top = Path(git("rev-parse", "--show-toplevel") or Path.cwd()).resolve()
    packages = module_origins.installed_packages(top)
    if text == HERE:
        yield Side("working folder", origin=Origin(str(top), packages=packages))
        return
    sha = hash_of(text)
    if sha is None:
        raise UsageError(
            f"{text} is neither a registered backend nor a commit here; {why_no_commit()}"
        )
    _remove_abandoned()
    with temporary_folders.held("side") as folder:
        root = folder.resolve() / sha[:12]
        try:
            added = git_command.run("worktree", "add", "--detach", "--quiet", str(root), sha)
            if added.text is None:
                raise UsageError(
                    f"{text}: git could not check out {sha[:12]} into a worktree; "
                    f"git says: {added.reason or 'nothing'}"
                )
            here = Path(git("rev-parse", "--show-prefix") or "")
            name = text if text == sha else f"{text} ({sha[:8]})"
            yield Side(
                name, root=root / here, origin=Origin(str(root), str(top), packages), commit=sha
            )
        finally:
            _remove_worktree(root)


def _remove_abandoned() -> None:
    """Remove the worktrees of killed comparisons; worktrees of the user stay."""
    listed = git("worktree", "list", "--porcelain") or ""
    for entry in listed.splitlines():
        root = Path(entry.removeprefix("worktree "))
        if entry.startswith("worktree ") and temporary_folders.is_abandoned(root.parent):
            _remove_worktree(root)
            shutil.rmtree(root.parent, ignore_errors=True)


def _remove_worktree(root: Path) -> None:
    """Remove a worktree, even if an interrupted git left the worktree locked or incomplete."""
    remove = ("worktree", "remove", "--force", "--force", str(root))
    if git(*remove) is None:
        shutil.rmtree(root, ignore_errors=True)
        git(*remove)


def why_no_commit() -> str:
    """A likely reason for an unknown commit, and a remedy."""
    if reason := git_command.why_no_repository():
        return reason
    if git("rev-parse", "--is-shallow-repository") == "true":
        return (
            "the clone is shallow and may lack the commit: `git fetch --unshallow`, "
            "or a checkout with full history"
        )
    return "`git fetch` may bring it; `evenbench doctor` lists the backends"


def git(*words: str) -> str | None:
    """The output of a git command; None if the command fails or git is not installed."""
    return git_command.run(*words).text
