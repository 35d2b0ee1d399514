"""evenbench from Python and notebooks: `run`, `load_results` and `load_comparison`.

The engine, the results files and the rules are those of the command line.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evenbench.harness.collection import discovery, selection
from evenbench.harness.collection.discovery import Declaration
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.core.cases import Case, Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.results import records
from evenbench.harness.runner.schedule import Run

if TYPE_CHECKING:
    from evenbench.reports.pages.notebook import Table
    from evenbench.reports.pages.notebook_comparison import ComparisonTable

Words = str | Sequence[str]


def run(
    *targets: str | Path | Case,
    k: str = "",
    cell: Words = (),
    backends: Words = (),
    precision: Words = (),
    batch: Sequence[int] = (),
    threads: Sequence[int] = (),
    shape: str = "",
    input: Words = (),
    recipe: str = "",
    task: str = "",
    option: Words = (),
    plan: str = "default",
    half_width: str = "",
    budget: str = "",
    results: str | Path = "results",
    fresh: bool = False,
    progress: bool = True,
) -> Table:
    """Measure cells as `evenbench run` does, and return them as a table.

    `targets` are `Case` values, model files, `file.py:function` names, or folders of declarations
    (default: `benchmarks`). Every other argument is the flag of the same name; `half_width` and
    `budget` are texts such as `"2%"` and `"5m"`. `progress` shows the display of the command.

    Raises UsageError for the input that the command refuses. An interrupted run goes on with the
    next call of the same arguments.
    """
    from evenbench.harness.commands import console
    from evenbench.harness.commands import run as command
    from evenbench.harness.commands.progress import Display
    from evenbench.reports.pages.notebook import Table

    chosen = Selection(
        targets=tuple(str(target) for target in targets if not isinstance(target, Case)),
        expression=k,
        cell=_words(cell),
        backends=_words(backends),
        precision=_words(precision),
        batch=tuple(batch),
        threads=tuple(threads),
        shape=shape,
        input=_words(input),
        recipe=recipe,
        task=task,
        option=_words(option),
    )
    options = command.RunOptions(chosen, plan, half_width=half_width, budget=budget)
    cases = [target for target in targets if isinstance(target, Case)]
    entries = _entries(chosen, cases, options.timeout)
    measurement = options.measurement
    with contextlib.ExitStack() as stack:
        display = Display(console.console(stderr=True), measurement) if progress else None
        session = Run(entries, measurement, Path(results), fresh=fresh)
        if display:
            session.listen = stack.enter_context(display).hear
            display.open(session)
        lines = session.measure(entries)
        session.finish()
    return Table(lines)


def load_results(*paths: str | Path, newest: bool = False) -> Table:
    """Read results files or folders (default: `results`) as a table, a row per line.

    With `newest`, a row per cell: the newest. Lines that cannot be read are left out, and named in
    `notes`. Raises UsageError for an absent path.
    """
    from evenbench.reports import newest_records
    from evenbench.reports.pages.notebook import Table

    places = [Path(path) for path in paths or ("results",)]
    absent = [str(place) for place in places if not place.exists()]
    if absent:
        raise UsageError(f"no results at {', '.join(absent)}; give a results file or folder")
    reading = records.read(places)
    if not newest:
        return Table(reading.lines, reading.notes)
    lines, notes = newest_records.newest(reading.lines)
    return Table(lines, (*reading.notes, *notes))


def load_comparison(path: str | Path = "results") -> ComparisonTable:
    """Read a comparison of `evenbench compare`: its file, or the newest of a results folder.

    The table has a row per cell and metric. Raises UsageError for an absent or damaged file.
    """
    from evenbench.harness.comparison import table_rows
    from evenbench.reports.pages.notebook_comparison import ComparisonTable

    place = Path(path)
    files = sorted(place.glob("compare-*.json")) if place.is_dir() else [place]
    if not files:
        raise UsageError(f"no comparison in {place}; run `evenbench compare BASE HEAD` first")
    try:
        comparison = json.loads(files[-1].read_text(encoding="utf-8"))
        return ComparisonTable(list(table_rows.rows(comparison)), comparison)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{files[-1]} is no comparison ({error}); expected a file of `evenbench compare`"
        ) from None


def _entries(chosen: Selection, cases: Sequence[Case], timeout_seconds: float) -> list[Entry]:
    if not cases:
        targets = chosen.targets or ALL_DECLARED.targets
        return selection.select(replace(chosen, targets=targets), timeout_seconds)
    if chosen.targets:
        raise UsageError("give cases or targets, not both; a folder of declarations is a target")
    declared = [
        Declaration(case, Path.cwd() / "python", f"case_{number}")
        for number, case in enumerate(cases, 1)
    ]
    return selection.filtered(discovery.entries(declared, "evenbench.run"), chosen)


def _words(given: Words) -> tuple[str, ...]:
    return tuple(filter(None, given.split(","))) if isinstance(given, str) else tuple(given)
