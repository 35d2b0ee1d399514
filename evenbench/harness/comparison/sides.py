"""The two sides of a comparison: commits checked out, or backends applied to declared cells."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evenbench.harness.collection import selection
from evenbench.harness.comparison import side_process, side_worker
from evenbench.harness.comparison.git import git, side_of
from evenbench.harness.comparison.side_process import Side
from evenbench.harness.comparison.side_worker import Change
from evenbench.harness.core import registry, serialization
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import Plan

FEW = 5
"""Cells named in a note."""


class NothingToCompare(UsageError):
    """The sides share no cell."""


class NothingDeclared(UsageError):
    """A side has no declarations, such as the base of a change that adds the first ones."""


UNDECLARED = (
    "no such file or folder; name a folder with",
    "no Case in ",
    "here; name a model, such as",
)
"""Messages of a side without declarations, also of the harness of an older commit."""


@dataclass(frozen=True)
class SidePair:
    """Both sides and their shared cells, the shown id mapped to the declared id.

    `notes` name everything left out. `places` has the declarations of head by declared id,
    `{"file": ..., "line": ...}`, relative to the repository's root.
    """

    base: Side
    head: Side
    cells: Mapping[str, str]
    notes: tuple[str, ...] = ()
    places: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def place(self, cell: str) -> Mapping[str, Any]:
        """The declaration of a cell by shown id; empty if unknown."""
        return self.places.get(self.cells.get(cell, ""), {})


def is_recorded(text: str) -> bool:
    """Whether a side names a results file, or a folder of results files."""
    path = Path(text)
    return path.suffix == ".jsonl" or (path.is_dir() and any(path.glob("*.jsonl")))


def backend_of(text: str) -> Change | None:
    """The change of `backend[@environment][:option=value,...]`; None for an unknown backend.

    Raises UsageError for options not of the form `name=value`.
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
def sides(base: str, head: str, words: Sequence[str], plan: Plan) -> Iterator[SidePair]:
    """Both sides, ready to run; commits are checked out into temporary folders.

    Raises UsageError for a side that is neither a backend nor a commit, for a backend against a
    commit, and for sides without a shared cell.
    """
    changes = backend_of(base), backend_of(head)
    if all(changes):
        yield _backends(base, head, changes[0] or Change(), changes[1] or Change(), words)
        return
    if any(changes):
        raise UsageError(
            f"{base} and {head}: one is a backend and the other is not; "
            "compare two backends or two commits"
        )
    with contextlib.ExitStack() as stack:
        one, other = (stack.enter_context(side_of(text)) for text in (base, head))
        yield in_common(one, other, words, plan)


def _backends(base: str, head: str, one: Change, other: Change, words: Sequence[str]) -> SidePair:
    """Both backends applied to the selected cells.

    Two releases of one backend run every declared cell of the backend, with the declared options
    and id, so a history finds the effect of an upgrade on its cells. Otherwise the first cell of
    each group runs.
    """
    if base == head:
        raise UsageError(
            f"{base} is compared with itself, like the null control of every comparison; "
            "name another backend, release or option"
        )
    try:
        selected = side_worker.chosen(words)
    except selection.NoCells as error:
        raise NothingToCompare(str(error)) from None
    cells: dict[str, str] = {}
    names = {change.backend.partition("@")[0] for change in (one, other)}
    if len(names) == 1 and not one.options and not other.options:
        cells = {name: name for name, cell in selected.items() if {cell.backend} == names}
        one, other = (replace(change, options=None) if cells else change for change in (one, other))
    if not cells:
        for name, cell in selected.items():
            cells.setdefault(cell.group, name)
    return SidePair(
        Side(base, one), Side(head, other), cells, places=_rooted(side_worker.places(words))
    )


def _rooted(places: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The places with files relative to the repository's root, as CI expects."""
    prefix = git("rev-parse", "--show-prefix") or ""
    return {
        name: {**place, "file": posixpath.normpath(posixpath.join(prefix, place["file"]))}
        for name, place in places.items()
    }


def in_common(base: Side, head: Side, words: Sequence[str], plan: Plan) -> SidePair:
    """Two commits with their shared cells. Raises NothingToCompare if no cell is shared."""
    declares = _both_declared(base, head, words, plan)
    shared = {name: name for name in declares[1] if name in declares[0]}
    notes = [
        _only_in(side, lone)
        for side, names in ((base, declares[0]), (head, declares[1]))
        if (lone := [name for name in names if name not in shared])
    ]
    if head.root is not None and git("status", "--porcelain", "--untracked-files=no"):
        notes.append(
            f"the working folder has changes that are not in {head.name}; "
            "compare with `.` to measure them"
        )
    if not any(declares):
        chosen = " ".join(words)
        raise NothingToCompare(
            f"neither {base.name} nor {head.name} has a cell selected by {chosen}; "
            "`evenbench list` shows all cells"
        )
    if not shared:
        raise NothingToCompare(f"{base.name} and {head.name} share no cell; {'; '.join(notes)}")
    return SidePair(base, head, shared, tuple(notes), _rooted(declares[1]))


def _both_declared(
    base: Side, head: Side, words: Sequence[str], plan: Plan
) -> list[dict[str, dict[str, Any]]]:
    """The selected cells of base and head.

    Raises NothingToCompare if one side has no declarations, and UsageError if neither has.
    """
    declares: list[dict[str, dict[str, Any]]] = []
    absent: dict[str, NothingDeclared] = {}
    for side in (base, head):
        try:
            declares.append(declared(side, words, plan))
        except NothingDeclared as error:
            declares.append({})
            absent[side.name] = error
    if len(absent) == 1:
        ((name, reason),) = absent.items()
        other, names = (head, declares[1]) if name == base.name else (base, declares[0])
        raise NothingToCompare(
            f"{name} has no benchmarks; {_only_in(other, list(names))} ({reason})"
        )
    if absent:
        raise UsageError(str(next(iter(absent.values()))))
    return declares


def _only_in(side: Side, names: Sequence[str]) -> str:
    return f"only in {side.name}: {shortened(names)}"


def shortened(names: Sequence[str]) -> str:
    """The first `FEW` names, and the number of the others: `a, b and 3 more`."""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"{', '.join(names[:FEW])}{more}"


def declared(side: Side, words: Sequence[str], plan: Plan) -> dict[str, dict[str, Any]]:
    """The selected cells of a side, by id, with the places of their declarations.

    An older commit of evenbench reports ids only. Raises UsageError if the side cannot list cells.
    """
    spec = replace(side.spec(words, "", plan), task="cells")
    try:
        with side_process.SideProcess(side, spec) as process:
            cells = process.ask()["value"]
    except side_process.SideFailed as error:
        if any(words in str(error) for words in UNDECLARED):
            raise NothingDeclared(str(error)) from None
        raise UsageError(f"{error}; a side must declare benchmarks that can be listed") from None
    return (
        dict(cells)
        if isinstance(cells, dict)
        else {name: {"file": "benchmarks", "line": None} for name in cells}
    )
