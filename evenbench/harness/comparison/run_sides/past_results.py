"""Past results as a side of a run: their cells are measured again, their times stand beside.

A ratio across time contains what the machine did in between. So past times are recorded as `then`
and never judged; the past cells that can be rebuilt are measured in the groups of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from evenbench.harness.comparison import recorded_runs, sides
from evenbench.harness.comparison.run_sides.side_entries import Joined, beside
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import COMPUTE, Cell
from evenbench.harness.environment import system_info
from evenbench.harness.results import records
from evenbench.harness.results.records import Record
from evenbench.harness.statistics.estimates import process_values


@dataclass(frozen=True)
class PastCell:
    """A past result of a selected group, with the cell that measures the same again."""

    line: Record
    cell: Cell
    beside: Entry


def join(
    joined: Joined, selected: Sequence[Entry], text: str, chosen: Callable[[str, str], bool]
) -> None:
    """Add the past cells of the selected groups, with their times as `then`.

    Raises UsageError for results without an outcome, and NothingToCompare without a common group.
    """
    reading = records.read([Path(text)])
    if not reading.lines:
        raise UsageError(f"--against {text}: no outcome; name results of `evenbench run`")
    lines = [line for line in records.latest(reading.lines).values() if _counts(line)]
    groups = {entry.cell.group: entry for entry in reversed(selected)}
    common = [line for line in lines if line["cell"]["group"] in groups]
    if not common:
        raise sides.NothingToCompare(
            f"--against {text}: no past cell has the model, precision, device, batch size and "
            "threads of a selected cell; `evenbench inspect` shows the past cells"
        )
    left_out = [line["cell"]["id"] for line in lines if line["cell"]["group"] not in groups]
    rebuilt = [_rebuilt(line, groups[line["cell"]["group"]], selected) for line in common]
    left_out += [line["cell"]["id"] for line, cell in zip(common, rebuilt, strict=True) if not cell]
    for past in filter(None, rebuilt):
        _add(joined, past, text, chosen)
    if left_out:
        joined.notes.append(f"not rebuilt from {text}: {sides.shortened(left_out)}")
    joined.notes += _commits(common, text)


def _counts(line: Record) -> bool:
    """Whether a past result is of a runtime of the past working folder."""
    return line.get("role", "runtime") == "runtime" and not line["cell"].get("side")


def _rebuilt(line: Record, template: Entry, selected: Sequence[Entry]) -> PastCell | None:
    """The past cell beside the selected cell of the same backend, or the first of the group.

    None for an unknown backend, and for a model that is declared otherwise now: the key differs.
    """
    recorded = line["cell"]
    options = tuple(sorted((recorded.get("options") or {}).items()))
    if recorded["backend"].partition("@")[0] not in registry.rows():
        return None
    cell = replace(template.cell, backend=recorded["backend"], options=options)
    if cell.key != recorded["key"]:
        return None
    group = [entry for entry in selected if entry.cell.group == cell.group]
    same = [
        entry
        for entry in group
        if entry.cell.backend_name == cell.backend_name and entry.cell.options == cell.options
    ]
    return PastCell(line, _of_release(cell, line), (same or group)[0])


def _of_release(cell: Cell, line: Record) -> Cell:
    """The cell with the recorded release of its runtime, as `ort@1.24.1`, if another is here."""
    if cell.interpreter_name or registry.row(cell.backend).environment:
        return cell
    package = next(iter(registry.find(cell.backend).distributions), "").lower()
    packages = (line.get("environment") or {}).get("packages") or {}
    then = {name.lower(): version for name, version in packages.items()}.get(package)
    try:
        now = metadata.version(package) if then else then
    except metadata.PackageNotFoundError:
        return cell
    return cell if then == now else replace(cell, backend=f"{cell.backend}@{then}")


def _add(joined: Joined, past: PastCell, text: str, chosen: Callable[[str, str], bool]) -> None:
    """Put the past times beside a cell of the run, or add the cell if the user selected it."""
    then = _then(past, text)
    for place, entry in enumerate(joined.entries):
        if entry.cell.key == past.cell.key:
            joined.entries[place] = replace(entry, then=then)
            return
    if chosen(past.line["cell"]["id"], past.line["cell"]["key"]):
        joined.add([replace(beside(past.beside, past.cell, text), then=then)])


def _then(past: PastCell, text: str) -> dict[str, Any]:
    """The recorded times, and what differs between the machines."""
    line = past.line
    samples = (line.get("samples_ns") or {}).get(COMPUTE) or []
    return {
        "results": text,
        "run": str((line.get("run") or {}).get("id", "")),
        "time": line["time"],
        "outcome": line["outcome"],
        "compute_ns": process_values(samples),
        "differ": _differences(past.cell, line),
    }


def _differences(cell: Cell, line: Record) -> list[str]:
    """A sentence for each difference of machine and packages; a release of its own is equal."""
    recorded: Mapping[str, Any] = line.get("environment") or {}
    here = dict(system_info.describe(registry.find(cell.backend).distributions))
    here["variables"] = recorded.get("variables")
    if cell.interpreter_name:
        here |= {name: recorded.get(name) for name in ("packages", "python")}
    return recorded_runs.differences(recorded, here, cell.device)


def _commits(lines: Sequence[Record], text: str) -> Iterator[str]:
    """A note for each other recorded commit, because the commit's code is another side."""
    here = system_info.describe()["commit"]
    commits = {str((line.get("environment") or {}).get("commit") or "") for line in lines}
    for commit in sorted(commits - {"", here}):
        yield (
            f"{text} was recorded at commit {commit[:12]}: `--against {commit[:12]}` "
            "measures that code too"
        )
