"""What the two sides of a comparison are: commits checked out for it, or backends put into declared
cells.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.collection import selection
from harness.comparison import side_process, side_worker
from harness.comparison.git import commit, git
from harness.comparison.side_process import Side
from harness.comparison.side_worker import Change
from harness.core import registry, serialization
from harness.core.errors import UsageError
from harness.core.types import Plan


class NothingToCompare(UsageError):
    """No cell that both sides have."""


@dataclass(frozen=True)
class Pair:
    """Both sides, and the cells they share: the id shown to the declared id. `notes` say what could
    not be compared.

    `places` says where head declares them, relative to the repository's root: `{"file": ...,
    "line": ...}` by the declared id.
    """

    base: Side
    head: Side
    cells: Mapping[str, str]
    notes: tuple[str, ...] = ()
    places: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def place(self, cell: str) -> Mapping[str, Any]:
        """Where the cell that is shown as this is declared; empty where that is not known."""
        return self.places.get(self.cells.get(cell, ""), {})


def is_recorded(text: str) -> bool:
    """Whether a side names a results file, or a folder of them."""
    path = Path(text)
    return path.suffix == ".jsonl" or (path.is_dir() and any(path.glob("*.jsonl")))


def backend_of(text: str) -> Change | None:
    """The change that `backend[@environment][:option=value,...]` stands for, or None where no
    backend has that name.

    Raises UsageError for options that are no `name=value`.
    """
    name, _, listed = text.partition(":")
    if name.partition("@")[0] not in registry.rows():
        return None
    options = []
    for word in filter(None, listed.split(",")):
        option, equals, value = word.partition("=")
        if not equals or not option:
            raise UsageError(f"{text}: {word!r} is no option; write {name}:option=value")
        options.append((option, serialization.read(value)))
    return Change(name, tuple(sorted(options)))


@contextlib.contextmanager
def sides(base: str, head: str, words: Sequence[str], plan: Plan) -> Iterator[Pair]:
    """Both sides ready to be run: commits checked out into folders that are removed afterwards.

    Raises UsageError where a side is neither a backend nor a commit, the two are of different
    kinds, or they share no cell.
    """
    changes = backend_of(base), backend_of(head)
    if all(changes):
        yield _backends(base, head, changes[0] or Change(), changes[1] or Change(), words)
        return
    if any(changes):
        raise UsageError(
            f"{base} and {head}: one is a backend and the other is not; compare two backends or two commits"
        )
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(commit(text)) for text in (base, head)]
        yield in_common(made[0], made[1], words, plan)


def _backends(base: str, head: str, one: Change, other: Change, words: Sequence[str]) -> Pair:
    """Both backends put into the cells that the words choose: into one of each group; of two
    releases into each of the backend's own.

    What is declared of one backend keeps its options and its id, so that a history finds what an
    upgrade did to its cells.
    """
    if base == head:
        raise UsageError(
            f"{base} is compared with itself; that is what the null control of every comparison does"
        )
    try:
        found = side_worker.chosen(words)
    except selection.NoCells as error:
        raise NothingToCompare(str(error)) from None
    cells: dict[str, str] = {}
    names = {change.backend.partition("@")[0] for change in (one, other)}
    if len(names) == 1 and not one.options and not other.options:
        cells = {name: name for name, cell in found.items() if {cell.backend} == names}
        one, other = (replace(change, options=None) if cells else change for change in (one, other))
    if not cells:
        for name, cell in found.items():
            cells.setdefault(cell.group, name)
    return Pair(
        Side(base, one), Side(head, other), cells, places=_rooted(side_worker.places(words))
    )


def _rooted(places: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The places with their files relative to the repository's root, as those who show them want
    them.
    """
    prefix = git("rev-parse", "--show-prefix") or ""
    return {
        name: {**place, "file": posixpath.normpath(posixpath.join(prefix, place["file"]))}
        for name, place in places.items()
    }


def in_common(base: Side, head: Side, words: Sequence[str], plan: Plan) -> Pair:
    """The cells that both commits declare."""
    declares = [declared(side, words, plan) for side in (base, head)]
    shared = {name: name for name in declares[1] if name in declares[0]}
    notes = [
        f"only in {side.name}: {', '.join(lone[:5])}{f' and {len(lone) - 5} more' if len(lone) > 5 else ''}"
        for side, names in ((base, declares[0]), (head, declares[1]))
        if (lone := [name for name in names if name not in shared])
    ]
    if head.root is not None and git("status", "--porcelain", "--untracked-files=no"):
        notes.append(
            f"the working folder has changes that are not in {head.name}; compare with `.` to measure them"
        )
    if not any(declares):
        chosen = " ".join(words)
        raise NothingToCompare(
            f"neither {base.name} nor {head.name} has a cell that {chosen} chooses; `evenbench list` shows them"
        )
    if not shared:
        raise NothingToCompare(f"{base.name} and {head.name} share no cell; {'; '.join(notes)}")
    return Pair(base, head, shared, tuple(notes), _rooted(declares[1]))


def declared(side: Side, words: Sequence[str], plan: Plan) -> dict[str, dict[str, Any]]:
    """The ids of the cells that a side declares and the words choose, and where. Raises UsageError
    where they cannot be listed.

    A commit whose own harness is an older one tells ids only.
    """
    spec = replace(side.spec(words, "", plan), task="cells")
    try:
        with side_process.Process(side, spec) as asked:
            found = asked.ask()["value"]
    except side_process.SideFailed as error:
        raise UsageError(f"{error}; a side must declare benchmarks that can be listed") from None
    return (
        dict(found)
        if isinstance(found, dict)
        else {name: {"file": "benchmarks", "line": None} for name in found}
    )
