"""`evenbench load`: cells under a load scenario, each in fresh processes and judged first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenbench.harness.collection import selection, selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.commands import arguments, console
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes, quantities
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS, Plan
from evenbench.harness.core.types import UNWANTED
from evenbench.harness.environment import measurement_lock
from evenbench.harness.load.scenarios import NAMES, SERVER, SHAPES, InvalidScenario, Scenario
from evenbench.harness.load.session import FIELDS, FLAGS, LoadSession
from evenbench.harness.runner import journal, launcher

VARIED_BATCHES = (1, 2, 4, 8)
"""The default batch sizes of the scenario `shapes`."""

EPILOG = """\
Examples:
  evenbench load model.onnx --scenario single-stream
  evenbench load -k resnet18 --scenario batch-sweep --p99 20ms
  evenbench load -k resnet18 --scenario server --p99 5ms
  evenbench load benchmarks/shapes.py::lengths --scenario shapes --vary size
Docs: docs/how-to/load.md explains the scenarios.
"""

EXIT_CODES = {
    exit_codes.PASS: "every cell is ok, unsupported or unavailable",
    exit_codes.WORSE: "a cell is a mismatch, fallback or failed, or none keeps --p99",
    exit_codes.RESUMABLE: "",
}


@dataclass(frozen=True)
class LoadOptions:
    """The options of `evenbench load`; None stands for the scenario's default."""

    scenario: str
    selection: Selection = ALL_DECLARED
    p99: str | None = None
    vary: tuple[str, ...] | None = None
    batches: tuple[int, ...] | None = None
    callers: tuple[int, ...] | None = None
    gaps: tuple[float, ...] | None = None
    rounds: int | None = None
    rate: float | None = None
    seconds: float | None = None
    plan: str = "default"
    seed: int = 0
    timeout: float = 3600.0
    results: str = "results"
    output: str = ""
    fresh: bool = False
    json: bool = False

    @property
    def measurement(self) -> Plan:
        """The plan with the time limit."""
        return replace(PLANS[self.plan], timeout_seconds=self.timeout)


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    selection_flags.add_arguments(command)
    command.add_argument(
        "--scenario",
        required=True,
        choices=NAMES,
        metavar="S",
        help=f"{', '.join(NAMES)} [required]",
    )
    arguments.add_plan(command)
    arguments.add_seed(command)
    arguments.add_timeout(command)
    arguments.add_results(command)
    arguments.add_fresh(command)
    arguments.add_output(
        command, "FILE", "also write an HTML page here [default: no page]", "--page"
    )
    arguments.add_json_flag(command)
    _add_scenario_group(command)


def _add_scenario_group(command: Parser) -> None:
    group = command.add_argument_group("scenario parameters")
    group.add_argument(
        "--p99",
        metavar="TIME",
        help="bound of batch-sweep, server: 20ms [default: none]",
    )
    group.add_argument(
        "--vary",
        type=lambda text: tuple(text.split(",")),
        metavar="WHAT,...",
        help="shapes: batch, size or both [default: batch]",
    )
    group.add_argument(
        "--batches",
        type=quantities.whole_numbers,
        metavar="N,...",
        help="batches [default: 1,2,4,8,16,32; shapes: 1,2,4,8]",
    )
    group.add_argument(
        "--callers",
        type=quantities.whole_numbers,
        metavar="N,...",
        help="calling threads [default: 1,2,4; of server 1]",
    )
    group.add_argument(
        "--gaps", type=quantities.times_ms, metavar="MS,...", help="pauses [default: 0,10,100,1000]"
    )
    group.add_argument(
        "--rounds", type=int, metavar="N", help="calls per pause and process [default: 15]"
    )
    group.add_argument(
        "--rate",
        type=float,
        metavar="N",
        help="arrivals per second [default: search for the highest]",
    )
    group.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="length of each point, per process [default: 3]",
    )


def run(options: LoadOptions) -> int:
    """Measure the cells under the scenario and return the exit code."""
    launcher.interrupt_when_ended()
    scenario = scenario_of(options)
    _check(options)
    entries = selection.select(options.selection, options.timeout)
    notes = console.console(stderr=True)

    def tell(text: str) -> None:
        notes.print(text, soft_wrap=True, markup=False)

    with measurement_lock.alone():
        session = LoadSession(
            entries,
            scenario,
            options.measurement,
            Path(options.results),
            options.seed,
            flags(options),
            tell,
            options.fresh,
        )
        if session.journal.resumed:
            tell(journal.opening(session.journal.run, session.known()))
        elif session.journal.changed:
            tell(session.journal.changed)
        try:
            lines = session.measure()
        except KeyboardInterrupt:
            tell(journal.interrupted(session.known()))
            return exit_codes.RESUMABLE
    _show(options, session, lines)
    failed = any(line["outcome"] in UNWANTED for line in lines) or nothing_keeps(scenario, lines)
    return exit_codes.WORSE if failed else exit_codes.PASS


def _check(options: LoadOptions) -> None:
    """Raise UsageError before anything is measured."""
    if options.timeout <= 0:
        raise UsageError(f"--timeout {options.timeout:g}: expected a number of seconds above 0")
    if options.output and not Path(options.output).resolve().parent.is_dir():
        raise UsageError(f"--output {options.output}: its folder is missing; make it first")


def _show(options: LoadOptions, session: LoadSession, lines: list[Any]) -> None:
    page = options.output or None
    if page:
        from evenbench.reports.pages import load

        load.write(lines, Path(page))
    if options.json:
        facts = {"results": str(session.file), "resumed": session.journal.resumed, "page": page}
        print(json.dumps({**facts, "lines": lines}))
        return
    from evenbench.reports.terminal.load import show

    show(lines, console.console())
    print(f"results  {session.file}" + (f"\npage     {page}" if page else ""))


# -- the scenario ----------------------------------------------------------------------------------


def scenario_of(options: LoadOptions) -> Scenario:
    """Return the scenario of the flags. Raises UsageError for a flag of another scenario."""
    name = options.scenario
    for flag, owners in FLAGS.items():
        if getattr(options, flag) is not None and name not in owners:
            raise UsageError(f"--{flag} is for {' and '.join(owners)}, not {name}; leave it out")
    if options.rate is not None and not options.rate > 0:
        raise UsageError(
            f"--rate {options.rate:g}: expected a number of arrivals per second above 0; "
            "without the flag, the highest rate is searched"
        )
    values: dict[str, Any] = {
        "seconds": options.seconds,
        "callers": options.callers or ((1,) if name == SERVER else None),
        "batches": options.batches or (VARIED_BATCHES if name == SHAPES else None),
        "vary": options.vary,
        "gaps_ms": options.gaps,
        "rounds": options.rounds,
        "rate_per_second": options.rate,
    }
    given = {key: value for key, value in values.items() if value is not None}
    try:
        scenario = Scenario(name, bound_ns=_bound_ns(options), seed=options.seed, **given)
    except InvalidScenario as error:
        raise UsageError(error.with_name(f"--{flag_of(error.field)}")) from error
    _check_scenario(scenario, options)
    return scenario


def flag_of(field: str) -> str:
    """Return the flag for a field of `Scenario`."""
    flags = {field: flag for flag, field in FIELDS.items()}
    return flags.get(field, "scenario")


def _bound_ns(options: LoadOptions) -> int:
    """Return the latency bound in ns; 0 stands for none."""
    if options.p99 is None:
        return 0
    bound = round(quantities.quantity(options.p99, "time", "--p99", "20ms"))
    if bound <= 0:
        raise UsageError(f"--p99 {options.p99}: expected a latency above 0, such as 20ms")
    return bound


def _check_scenario(scenario: Scenario, options: LoadOptions) -> None:
    if scenario.name == SERVER and len(scenario.callers) != 1:
        callers = ",".join(map(str, scenario.callers))
        raise UsageError(
            f"--callers {callers}: the server has one number of serving threads; name one"
        )
    if scenario.name == SHAPES and scenario.has_batches and len(scenario.batches) < 2:
        raise UsageError(
            "--scenario shapes needs two sizes or more to change between; "
            "name them with --batches, such as 1,2,4,8"
        )
    if options.batches and not scenario.has_batches:
        raise UsageError(
            f"--batches names batches to change between, and --vary {','.join(scenario.vary)} "
            "keeps each cell's own; leave it out"
        )


def nothing_keeps(scenario: Scenario, lines: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether no measured cell keeps the given bound."""
    answers = [line["answer"] for line in lines if line["outcome"] == "ok" and line["answer"]]
    within = [answer.get("batch") or answer.get("rate_per_second") for answer in answers]
    return bool(scenario.bound_ns and answers and not any(within))


def flags(options: LoadOptions) -> str:
    """Return the given scenario flags, for a command to repeat the measurement."""
    words = ["--scenario", options.scenario]
    for flag in FLAGS:
        value = getattr(options, flag)
        if value is not None:
            values = value if isinstance(value, tuple) else (str(value),)
            words += [
                f"--{flag}",
                ",".join(item if isinstance(item, str) else f"{item:g}" for item in values),
            ]
    return shlex.join([*words, "--plan", options.plan, "--seed", str(options.seed)])
