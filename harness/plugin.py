"""Turns every `Case` in a test module into ordinary pytest items, and hands the harness's samples
to pytest-benchmark.

pytest loads this through the entry point `evenbench` (group `pytest11`) in every session, so it
imports no runtime and touches nothing until a `Case` is collected. All selected items of one
comparison group are measured together, interleaved, when the first of them runs; the others only
report. pytest-benchmark gets the recorded laps through a timer that reads them out, so nothing is
timed twice.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.collection import discovery, matrix
from harness.core import registry
from harness.core.cases import Case, Entry
from harness.core.errors import UsageError
from harness.core.plans import PLANS
from harness.core.types import COMPUTE, OUTCOMES, Cell
from harness.results.records import Record
from harness.runner.schedule import Event, Run
from harness.statistics.estimates import median, process_values

PARAMETERS = ("key", "model", "backend", "precision", "device", "batch", "threads", "options")
"""What an item is parametrized by, as plain values, so that `--benchmark-group-by=param:backend`
works.
"""

SKIPPED = ("unsupported", "unavailable")
"""The outcomes that say nothing about right or wrong here, and so skip."""

XDIST = (
    "evenbench does not measure under pytest-xdist: cells measured side by side would slow each other down and say nothing; "
    "run without -n, or with -n 0"
)

TRACEBACK_LINES = 15


class Replay:
    """A timer that reads out recorded laps: reading 2n is zero and reading 2n + 1 is lap n in
    seconds, so that the difference of each pair is that lap exactly."""

    def __init__(self) -> None:
        self.readings: Iterator[float] = iter(())

    def play(self, laps_ns: Sequence[int]) -> None:
        """Read out these laps from now on."""
        self.readings = (reading for lap in laps_ns for reading in (0.0, lap / 1e9))

    def __call__(self) -> float:
        return next(self.readings)

    def __repr__(self) -> str:
        return "harness.plugin.Replay"


class DeclarationFile(pytest.Module):
    """A `bench_*.py` that declares cases. What is wrong with a declaration is said in one line, not
    in a traceback.
    """

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        if not isinstance(excinfo.value, UsageError):
            return super().repr_failure(excinfo)
        own = [entry.lineno + 1 for entry in excinfo.traceback if Path(entry.path) == self.path]
        return f"{self.path}:{own[-1] if own else 1}: {excinfo.value}"


class CellItem(pytest.Function):
    """One cell of a case as a pytest item."""

    entry: Entry
    replay: Replay
    line: int

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """The declaration, rather than this file, is where the item comes from; `line` counts from
        zero.
        """
        return self.path, self.line, self.name

    def measured(self) -> None:
        """Have the cell's group measured where that was not done yet, then pass, skip or fail by
        its outcome.
        """
        benchmark = self.funcargs.get("benchmark")
        if hasattr(self.config, "workerinput"):
            _use(benchmark, lambda: pytest.fail(XDIST, pytrace=False))
            return
        try:
            record = self.config.stash[SUITE].record_of(self)
        except UsageError as error:
            message = str(error)
            _use(benchmark, lambda: pytest.fail(message, pytrace=False))
            return
        self.user_properties.extend(properties(record))
        if record["outcome"] != "ok":
            _use(benchmark, lambda: judge(record))
        elif benchmark is not None:
            self._hand_over(benchmark, record)

    def _hand_over(self, benchmark: Any, record: Record) -> None:
        laps = [lap for process in record["samples_ns"][COMPUTE] for lap in process]
        self.replay.play(laps)
        benchmark.extra_info.update(extra_info(record))
        benchmark.pedantic(lambda: None, rounds=len(laps), iterations=1, warmup_rounds=0)


def _use(benchmark: Any, verdict: Callable[[], None]) -> None:
    """Speak the verdict through the fixture without timing anything, or pytest-benchmark would warn
    that it was not used.
    """
    if benchmark is None:
        verdict()
    else:
        benchmark.disabled = True
        benchmark.pedantic(verdict)


def judge(record: Record) -> None:
    """Skip what cannot run here, with the reason; fail what ran and is wrong."""
    reason = record["reason"]
    if record["outcome"] in SKIPPED:
        hint = record["hint"]
        pytest.skip(
            f"{record['outcome']}: {reason}" + (f"; {hint}" if hint and hint not in reason else "")
        )
    tail = "\n".join(record["traceback"].splitlines()[-TRACEBACK_LINES:])
    parts = [
        f"{record['outcome']} in {record['phase']}: {reason}",
        tail,
        f"reproduce: {record['reproduce']}",
    ]
    pytest.fail("\n".join(part for part in parts if part), pytrace=False)


def process_medians_ns(record: Record) -> dict[str, list[float]]:
    """The median lap of each process in nanoseconds, by boundary."""
    return {
        boundary: process_values(processes) for boundary, processes in record["samples_ns"].items()
    }


def properties(record: Record) -> list[tuple[str, object]]:
    """What junit shows of an outcome: latencies are medians over processes of each process's
    median.
    """
    medians = process_medians_ns(record)
    shown = [
        (f"{boundary}_median_seconds", median(values) / 1e9)
        for boundary, values in medians.items()
        if values
    ]
    return [("outcome", record["outcome"]), ("reason", record["reason"]), *shown]


def extra_info(record: Record) -> dict[str, Any]:
    """What pytest-benchmark stores beside the samples: enough to say what was measured, and that it
    was right.
    """
    parity, attested = record["parity"] or {}, record["attested"]
    return {
        "cell": record["cell"]["id"],
        "key": record["cell"]["key"],
        "outcome": record["outcome"],
        "boundary": COMPUTE,
        "process_medians_ns": process_medians_ns(record),
        "parity_needed": parity.get("needed"),
        "parity_allowed": parity.get("allowed"),
        "runtime": attested["runtime"],
        "version": attested["version"],
        "input_sha256": record["input_sha256"],
        "artifact_sha256": record["artifact_sha256"],
        "run": record["run"]["id"],
    }


class Suite:
    """The session's one run, started by the first item and measured a comparison group at a time."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.folder = config.invocation_params.dir / (
            config.getoption("evenbench_results") or "results"
        )
        self.run: Run | None = None

    def check_folder(self) -> None:
        """Raise pytest.UsageError where results could not be written, before anything is measured."""
        if self.folder.exists() and not self.folder.is_dir():
            raise pytest.UsageError(
                f"results folder {self.folder} is a file; name a folder with --evenbench-results"
            )

    def record_of(self, item: CellItem) -> Record:
        """The item's outcome; measures its whole group where it is not known yet."""
        self.run = self.run or self._start(cell_items(item.session))
        key = item.entry.cell.key
        if key not in self.run.done:
            peers = [
                peer
                for peer in cell_items(item.session)
                if peer.entry.cell.group == item.entry.cell.group
            ]
            with Progress(self.config).shown() as listen:
                self.run.listen = listen
                self.run.measure(unique([item, *peers]))
        return self.run.done[key]

    def _start(self, items: Sequence[CellItem]) -> Run:
        plan = PLANS[self.config.getoption("evenbench_plan")]
        return Run(unique(items), plan, self.folder, fresh=self.config.getoption("evenbench_fresh"))

    def finish(self, exitstatus: int) -> None:
        """Close the run, unless it was interrupted: then the same command goes on with it.

        A session that `-x` ended early is over as well. What failed will be mended, and must then
        be measured anew.
        """
        if self.run is not None and exitstatus != pytest.ExitCode.INTERRUPTED:
            self.run.file.finish()

    def summary(self) -> list[str]:
        """Where the results are and how many cells had which outcome; nothing where no case ran."""
        if self.run is None:
            return []
        outcomes = [record["outcome"] for record in self.run.done.values()]
        counts = ", ".join(
            f"{outcomes.count(outcome)} {outcome}" for outcome in OUTCOMES if outcome in outcomes
        )
        resumed = (
            ["went on with a run that was interrupted; --evenbench-fresh starts anew"]
            if self.run.resumed
            else []
        )
        return [f"{counts or 'no outcome'}: {self.run.file.file}", *resumed]


SUITE = pytest.StashKey[Suite]()


def cell_items(session: pytest.Session) -> list[CellItem]:
    """The selected items that are cells, and that no skip mark leaves out."""
    return [
        item
        for item in session.items
        if isinstance(item, CellItem) and not item.get_closest_marker("skip")
    ]


def unique(items: Sequence[CellItem]) -> list[Entry]:
    """One entry per cell: two cases may declare the same one, which is measured once."""
    entries: dict[str, Entry] = {}
    for item in items:
        entries.setdefault(item.entry.cell.key, item.entry)
    return list(entries.values())


class Progress:
    """What is being measured: a line for each step with -v, one line that is written over on a
    terminal, else nothing.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self.capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self.verbose = config.get_verbosity() > 0

    @contextlib.contextmanager
    def shown(self) -> Iterator[Callable[[Event], None]]:
        """What to call with each event. pytest's own line goes on after the block."""
        if self.reporter is None or not (
            self.verbose or (self.reporter.isatty and self.reporter.verbosity == 0)
        ):
            yield lambda event: None
            return
        with (
            self.capture.global_and_fixture_disabled() if self.capture else contextlib.nullcontext()
        ):
            self.reporter.ensure_newline()
            yield self._tell
            if not self.verbose:
                self.reporter.rewrite("", erase=True)
                self.reporter.rewrite("")

    def _tell(self, event: Event) -> None:
        text = f"evenbench {event.steps}/{event.total} {event.kind} {event.text}"
        if event.record is not None:
            text += f": {event.record['outcome']}"
        if self.verbose:
            self.reporter.write_line(text)
        else:
            self.reporter.rewrite(text, erase=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this plugin."""
    group = parser.getgroup("evenbench", "evenbench: measuring the cells of a Case")
    group.addoption(
        "--evenbench-plan", choices=tuple(PLANS), default="default", help="how much is measured"
    )
    group.addoption(
        "--evenbench-results", metavar="DIR", help="folder of the results files (default: results)"
    )
    group.addoption(
        "--evenbench-fresh",
        action="store_true",
        help="start a new run even where one was interrupted",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark that every cell carries."""
    config.addinivalue_line(
        "markers", "evenbench: a cell of a harness.Case, measured by evenbench."
    )
    config.stash[SUITE] = Suite(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect `bench_*.py` although `python_files` says `test_*.py`; what pytest collects itself is
    left to it.
    """
    patterns = parent.config.getini("python_files")
    by_pytest = parent.session.isinitpath(file_path) or any(
        file_path.match(pattern) for pattern in patterns
    )
    if by_pytest or not declares(file_path):
        return None
    hooks = parent.session.gethookproxy(file_path)
    module: pytest.Module = hooks.pytest_pycollect_makemodule(module_path=file_path, parent=parent)
    return module


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """A declaration file is a module that reports usage errors in one line."""
    return DeclarationFile.from_parent(parent, path=module_path) if declares(module_path) else None


def declares(file: Path) -> bool:
    """Whether a file may hold cases by its name and text: an unrelated script named bench_*.py must
    not be imported.
    """
    if not discovery.is_declaration_file(file):
        return False
    text = file.read_bytes()
    return b"harness" in text and b"Case" in text


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[pytest.Item] | None:
    """The items of a module-level `Case`; its usage errors are collection errors."""
    if (
        not isinstance(obj, Case)
        or not isinstance(collector, pytest.Module)
        or name.startswith("_")
    ):
        return None
    try:
        return items_of(collector, name, obj)
    except UsageError as error:
        raise collector.CollectError(f"{collector.path}::{name}: {error}") from None


def items_of(collector: pytest.Module, name: str, case: Case) -> list[pytest.Item]:
    """One item per cell, parametrized by pytest itself, so that it has a callspec, and ids as -k
    expects them.
    """
    case = discovery.beside(collector.path.parent, case)
    declaration = discovery.Declaration(case, collector.path, name)
    command = f"evenbench run {shlex.quote(declaration.id.rpartition('::')[0])}"
    cells = {cell.key: cell for cell in matrix.expand(case)}
    function = _marked(
        case, list(cells.values()), collector.config.pluginmanager.hasplugin("pytest-benchmark")
    )
    line = (discovery.line_of(collector.path, name) or 1) - 1
    items: list[pytest.Item] = []
    # `_genfunctions` is how plugins that make functions of their own go through pytest's
    # parametrization; the items are then made again as ours, since a plain Function would look its
    # object up in the module and find the Case.
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
        item.entry, item.replay = (
            Entry(cells[str(spec.params["key"])], declaration.id, command),
            Replay(),
        )
        if "benchmark" in item.fixturenames:
            item.add_marker(
                pytest.mark.benchmark(timer=item.replay, group=ranked_in(item.entry.cell))
            )
        items.append(item)
    return items


def ranked_in(cell: Cell) -> str:
    """The table in which pytest-benchmark shows a cell: its comparison group's; a control is never
    ranked with others.
    """
    role = registry.row(cell.backend).role
    return cell.group if role == "runtime" else f"{cell.group} {role}"


def _marked(case: Case, cells: Sequence[Cell], uses_benchmark: bool) -> Callable[..., None]:
    """The function behind a case's items, with the marks that parametrize it and those that the
    case asks for.
    """

    # The other arguments are there because pytest parametrizes only what a function takes.
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

    wrong = [mark for mark in case.marks if not mark.isidentifier() or mark.startswith("_")]
    if wrong:
        raise UsageError(
            f"Case: marks holds {wrong[0]!r}; expected names of pytest marks, such as 'slow'"
        )
    marks = [pytest.mark.evenbench, *(getattr(pytest.mark, mark) for mark in case.marks)]
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


def pytest_collection_finish(session: pytest.Session) -> None:
    """A results folder that cannot be one is a usage error before the first test."""
    if cell_items(session):
        session.config.stash[SUITE].check_folder()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The run is over."""
    session.config.stash[SUITE].finish(exitstatus)


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """A short section; first, because pytest-benchmark ends the summary when something became
    slower.
    """
    lines = config.stash[SUITE].summary()
    if lines:
        terminalreporter.section("evenbench", sep="-")
        for line in lines:
            terminalreporter.write_line(line)
