"""The entries of a run with the cells of all other sides, in the groups of the selected cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from evenbench.harness.comparison import git, sides
from evenbench.harness.comparison.run_sides import past_results
from evenbench.harness.comparison.run_sides.commit_side import CommitSide
from evenbench.harness.comparison.run_sides.side_entries import Joined, beside
from evenbench.harness.comparison.side_worker import Change
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import Plan


def join(
    selected: Sequence[Entry],
    texts: Sequence[str],
    words: Sequence[str],
    plan: Plan,
    stack: ExitStack,
    chosen: Callable[[str, str], bool],
) -> Joined:
    """The selected entries with the sides in `texts`: results files, backends or commits.

    `words` select the cells of another commit, which stays checked out until `stack` is closed.
    `chosen(id, key)` filters past cells. Raises UsageError for a text without a meaning or without
    a further cell.
    """
    joined = Joined(list(selected))
    for text in texts:
        change = None if sides.is_recorded(text) else sides.backend_of(text)
        if sides.is_recorded(text):
            past_results.join(joined, selected, text, chosen)
        elif change is not None:
            _join_backend(joined, selected, text, change)
        else:
            _join_commit(joined, selected, text, words, plan, stack)
    return joined


def _join_backend(joined: Joined, selected: Sequence[Entry], text: str, change: Change) -> None:
    """Add the selected cells of the backend, changed; without any, one cell of each group."""
    name = change.backend.partition("@")[0]
    same = [entry for entry in selected if entry.cell.backend_name == name]
    if same and not change.options:
        change = replace(change, options=None)  # the declared options stay
    first = {entry.cell.group: entry for entry in reversed(selected)}
    changed = [beside(entry, change.of(entry.cell), text) for entry in same or first.values()]
    if not joined.add(changed):
        raise UsageError(f"--against {text}: its cells are in the run already; name another side")


def _join_commit(
    joined: Joined,
    selected: Sequence[Entry],
    text: str,
    words: Sequence[str],
    plan: Plan,
    stack: ExitStack,
) -> None:
    """Add the selected cells that a commit declares too, measured with the commit's code."""
    if text == git.HERE:
        raise UsageError("--against .: the run measures the working folder already; name a commit")
    side = stack.enter_context(git.side_of(text))
    declared = sides.declared(side, words, plan)
    shared = [entry for entry in selected if entry.cell.id in declared]
    if not shared:
        raise sides.NothingToCompare(f"{side.name} declares none of the selected cells")
    name = side.commit[:8] if side.commit.startswith(text) else f"{text}:{side.commit[:8]}"
    joined.sides[name] = CommitSide(side, tuple(words), plan)
    joined.add(
        [beside(entry, replace(entry.cell, side=name), text, side.commit) for entry in shared]
    )
    if lone := [entry.cell.id for entry in selected if entry.cell.id not in declared]:
        joined.notes.append(f"not in {side.name}: {sides.shortened(lone)}")
