"""Cells of a case as pytest items."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.collection import discovery, matrix
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Case, Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import COMPUTE, Cell
from evenbench.harness.plugin.outcomes import Replay, extra_info, judge, properties, without_timing
from evenbench.harness.plugin.suite import SUITE
from evenbench.harness.results.records import Record

PARAMETERS = ("key", "model", "backend", "precision", "device", "batch", "threads", "options")
"""Plain values in each callspec, for options such as `--benchmark-group-by=param:backend`."""

XDIST = (
    "evenbench does not measure under pytest-xdist, because cells measured in parallel slow each "
    "other down; run without -n, or with -n 0"
)


WITH_ARGUMENTS = ("parametrize", "usefixtures", "filterwarnings", "skipif")
"""Marks of pytest without a meaning unless called with arguments."""

DISABLED = "not measured because of --benchmark-disable"


def is_disabled(config: pytest.Config) -> bool:
    """Whether pytest-benchmark's flag --benchmark-disable switches measuring off."""
    disabled = config.getoption("benchmark_disable", False)
    return bool(disabled and not config.getoption("benchmark_enable", False))


class DeclarationFile(pytest.Module):
    """A `bench_*.py` with cases. An invalid declaration is reported on a single line."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        if not isinstance(excinfo.value, UsageError):
            return super().repr_failure(excinfo)
        own = [entry.lineno + 1 for entry in excinfo.traceback if Path(entry.path) == self.path]
        return f"{self.path}:{own[-1] if own else 1}: {excinfo.value}"


class CellItem(pytest.Function):
    """A pytest item for a cell of a case."""

    entry: Entry
    replay: Replay
    line: int
    called: bool = False
    """Whether pytest has called this item before."""

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """The place of the declaration, instead of this file; `line` counts from zero."""
        return self.path, self.line, self.name

    def measured(self) -> None:
        """Measure the cell's group if still unknown, then pass, skip or fail by the outcome."""
        benchmark = self.funcargs.get("benchmark")
        if is_disabled(self.config):
            without_timing(benchmark, lambda: pytest.skip(DISABLED))
            return
        if hasattr(self.config, "workerinput"):
            without_timing(benchmark, lambda: pytest.fail(XDIST, pytrace=False))
            return
        try:
            record, refusal = self._record()
        except BaseException as error:
            raised = error
            without_timing(benchmark, lambda: _raise(raised))
            raise
        if record is None:
            without_timing(benchmark, lambda: pytest.fail(refusal, pytrace=False))
            return
        own = properties(record)
        kept = [entry for entry in self.user_properties if entry[0] not in dict(own)]
        self.user_properties = [*kept, *own]
        if record["outcome"] != "ok":
            without_timing(benchmark, lambda: judge(record))
        elif benchmark is not None:
            self._replay(benchmark, record, self.config.stash[SUITE].outcomes)

    def _record(self) -> tuple[Record | None, str]:
        """The outcome, or None and the message of a usage error.

        A repeated call, as by `--reruns`, measures again unless the outcome is `ok`.
        """
        suite = self.config.stash[SUITE]
        if self.called:
            suite.forget_failed(self.entry.cell.key)
        self.called = True
        peers = [item.entry for item in cell_items(self.session)]
        try:
            return suite.record_of(self.entry, peers), ""
        except UsageError as error:
            return None, str(error)

    def _replay(self, benchmark: Any, record: Record, peers: Iterable[Record]) -> None:
        laps = [lap for process in record["samples_ns"][COMPUTE] for lap in process]
        self.replay.play(laps)
        benchmark.extra_info.update(extra_info(record, peers))
        benchmark.pedantic(lambda: None, rounds=len(laps), iterations=1, warmup_rounds=0)


def _raise(error: BaseException) -> None:
    raise error


def cell_items(session: pytest.Session) -> list[CellItem]:
    """The selected cells without a skip mark."""
    return [
        item
        for item in session.items
        if isinstance(item, CellItem) and not item.get_closest_marker("skip")
    ]


def items_of(collector: pytest.Module, name: str, case: Case) -> list[pytest.Item]:
    """An item per cell, parametrized by pytest itself, with a callspec and ids for `-k`."""
    case = discovery.beside(collector.path.parent, case)
    declaration = discovery.Declaration(case, collector.path, name)
    command = f"evenbench run {shlex.quote(declaration.id.rpartition('::')[0])}"
    cells = {cell.key: cell for cell in matrix.expand(case)}
    has_benchmark = collector.config.pluginmanager.hasplugin("pytest-benchmark")
    function = _marked(case, list(cells.values()), has_benchmark)
    line = (discovery.line_of(collector.path, name) or 1) - 1
    items: list[pytest.Item] = []
    # `_genfunctions` is the way of plugins with generated functions through pytest's
    # parametrization. Each item is then recreated as a CellItem, because a plain Function would
    # look its object up in the module and find the Case.
    for plain in collector._genfunctions(name, function):
        spec = plain.callspec
        item = CellItem.from_parent(
            collector,
            name=plain.name,
            callspec=spec,
            callobj=function,
            keywords={spec.id: True},
            fixtureinfo=plain._fixtureinfo,
            originalname=name,
        )
        item.line = line
        item.entry = Entry(cells[str(spec.params["key"])], declaration.id, command)
        item.replay = Replay()
        if "benchmark" in item.fixturenames:
            group = ranked_in(item.entry.cell)
            item.add_marker(pytest.mark.benchmark(timer=item.replay, group=group))
        items.append(item)
    return items


def ranked_in(cell: Cell) -> str:
    """The cell's table in pytest-benchmark: the comparison group, with controls in other tables."""
    role = registry.row(cell.backend).role
    return cell.group if role == "runtime" else f"{cell.group} {role}"


def _marked(case: Case, cells: Sequence[Cell], uses_benchmark: bool) -> Callable[..., None]:
    """The function behind a case's items, with its parameters and the case's marks."""

    # pytest parametrizes only arguments of the function's signature.
    def measured(
        request: Any,
        key: Any,
        model: Any,
        backend: Any,
        precision: Any,
        device: Any,
        batch: Any,
        threads: Any,
        options: Any,
    ) -> None:
        request.node.measured()

    marks = [pytest.mark.evenbench, *(_mark(name) for name in case.marks)]
    if uses_benchmark:
        marks.append(pytest.mark.usefixtures("benchmark"))
    marks.append(
        pytest.mark.parametrize(
            PARAMETERS, [_values(cell) for cell in cells], ids=[cell.id for cell in cells]
        )
    )
    marked: Callable[..., None] = measured
    for mark in marks:
        marked = mark(marked)
    return marked


def _mark(name: str) -> pytest.MarkDecorator:
    """The mark of a name. Raises UsageError for names without a meaning as a plain mark."""
    if not name.isidentifier() or name.startswith("_"):
        raise UsageError(f"Case: marks holds {name!r}; expected names of pytest marks, as 'slow'")
    if name in WITH_ARGUMENTS:
        raise UsageError(
            f"Case: marks holds {name!r}, a mark with arguments; expected plain marks, as 'slow'"
        )
    mark: pytest.MarkDecorator = getattr(pytest.mark, name)
    return mark


def _values(cell: Cell) -> tuple[str | int, ...]:
    options = ",".join(f"{key}={value}" for key, value in cell.options)
    return (
        cell.key,
        cell.model.name,
        cell.backend,
        cell.precision,
        cell.device,
        cell.batch,
        cell.threads,
        options,
    )
