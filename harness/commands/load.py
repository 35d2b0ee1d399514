"""`evenbench load`: cells under a scenario of load, each in fresh processes, judged before a number
is told, and kept as lines.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.collection import selection
from harness.commands import console
from harness.core import quantities
from harness.core.errors import UsageError
from harness.core.exit_codes import RESUMABLE
from harness.core.plans import PLANS
from harness.core.types import UNWANTED
from harness.environment import measurement_lock
from harness.load import mlperf
from harness.load.scenarios import NAMES, SERVER, SHAPES, InvalidScenario, Scenario
from harness.load.session import FIELDS, FLAGS, FOLDER, LoadSession
from harness.runner import journal, launcher

TIMEOUT_SECONDS = 3600.0

SHAPES_SEEN = (1, 2, 4, 8)

EPILOG = f"""\
  evenbench load benchmarks -k resnet18 --scenario single-stream
  evenbench load benchmarks -k resnet18 --scenario batch-sweep --p99 20ms
  evenbench load model.onnx --backends ort,openvino --scenario concurrent --callers 1,2,4
  evenbench load benchmarks -k "digits_cnn and ort" --scenario server --p99 5ms
  evenbench load benchmarks/shapes.py::lengths --scenario shapes --vary size
scenarios, all of them host to host:
  single-stream  one caller, call after call
  batch-sweep    the same for every batch size: throughput and p99, and the best batch that keeps --p99
  concurrent     threads on one loaded network, as far as a runtime allows that
  server         Poisson arrivals by MLCommons' load generator ({mlperf.HINT}); the highest rate whose p99 keeps --p99
  idle-gaps      calls after pauses: what waking up costs
  shapes         batch sizes, sizes of the inputs, or both (--vary) that change from call to call: the first of each, and the later ones

exit codes:
  0  every cell is ok, unsupported or unavailable
  1  some cell is a mismatch, a fallback or failed, or nothing keeps the bound that was given
  4  what was asked for cannot be
  130  interrupted; the same command goes on where it stopped
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    selection.add_arguments(command)
    command.add_argument(
        "--scenario", required=True, choices=NAMES, metavar="S", help=f"one of {', '.join(NAMES)}"
    )
    shape = command.add_argument_group("of a scenario")
    shape.add_argument(
        "--p99",
        metavar="20MS",
        help="the latency that 99 %% of the calls must keep (batch-sweep, server)",
    )
    what = "of shapes: batch, size (those that a model declares), or both (batch)"
    shape.add_argument(
        "--vary", type=lambda text: tuple(text.split(",")), metavar="WHAT,...", help=what
    )
    shape.add_argument(
        "--batches",
        type=quantities.whole_numbers,
        metavar="N,...",
        help="batch sizes (1,2,4,8,16,32; of shapes 1,2,4,8)",
    )
    shape.add_argument(
        "--callers",
        type=quantities.whole_numbers,
        metavar="N,...",
        help="threads (1,2,4; of server one number, 1)",
    )
    shape.add_argument(
        "--gaps", type=quantities.times_ms, metavar="MS,...", help="between calls (0,10,100,1000)"
    )
    shape.add_argument(
        "--rounds", type=int, metavar="N", help="calls after each gap, per process (15)"
    )
    shape.add_argument(
        "--rate",
        type=float,
        metavar="N",
        help="judge this many arrivals per second, and search for no other",
    )
    shape.add_argument(
        "--seconds", type=float, metavar="S", help="of calls at each point, per process (3)"
    )
    command.add_argument(
        "--plan",
        choices=sorted(PLANS),
        default="default",
        help="how many processes, and their warm-up (default)",
    )
    command.add_argument("--seed", type=int, default=0, help="of all orders and of arrivals (0)")
    command.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="of one process (3600)",
    )
    command.add_argument(
        "--results",
        default="results",
        metavar="DIR",
        help=f"lines go into its folder {FOLDER} (results)",
    )
    command.add_argument("--fresh", action="store_true", help=journal.FRESH)
    command.add_argument("--page", metavar="FILE", help="also write a page, one HTML file")
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def scenario_of(options: argparse.Namespace) -> Scenario:
    """The scenario that the flags describe. Raises UsageError for a flag that it does not have, or
    a value that cannot be.
    """
    name = options.scenario
    for flag, owners in FLAGS.items():
        if getattr(options, flag) is not None and name not in owners:
            raise UsageError(f"--{flag} is for {' and '.join(owners)}, not {name}; leave it out")
    if options.rate is not None and not options.rate > 0:
        raise UsageError(
            f"--rate {options.rate:g}: expected a number of arrivals per second above 0; without it the highest is searched"
        )
    bound = (
        round(quantities.quantity(options.p99, "time", "--p99", "20ms"))
        if options.p99 is not None
        else 0
    )
    if options.p99 is not None and bound <= 0:
        raise UsageError(f"--p99 {options.p99}: expected a latency above 0, such as 20ms")
    asked = {
        "seconds": options.seconds,
        "callers": options.callers or ((1,) if name == SERVER else None),
        "batches": options.batches or (SHAPES_SEEN if name == SHAPES else None),
        "vary": options.vary,
        "gaps_ms": options.gaps,
        "rounds": options.rounds,
        "rate_per_second": options.rate,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    try:
        made = Scenario(name, bound_ns=bound, seed=options.seed, **given)
    except InvalidScenario as error:
        raise UsageError(error.with_name(f"--{flag_of(error.field)}")) from error
    if name == SERVER and len(made.callers) != 1:
        raise UsageError(
            f"--callers {','.join(map(str, made.callers))}: the server has one number of threads that answer; name one"
        )
    if name == SHAPES and made.has_batches and len(made.batches) < 2:
        raise UsageError(
            "--scenario shapes needs two sizes or more to change between; name them with --batches, such as 1,2,4,8"
        )
    if options.batches and not made.has_batches:
        raise UsageError(
            f"--batches names batches to change between, and --vary {','.join(made.vary)} keeps each cell's own; leave it out"
        )
    return made


def flag_of(field: str) -> str:
    """The name of the flag that sets a field of `Scenario`."""
    flags = {field: flag for flag, field in FIELDS.items()}
    return flags.get(field, "scenario")


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    launcher.interrupt_when_ended()
    scenario = scenario_of(options)
    if options.timeout <= 0:
        raise UsageError(f"--timeout {options.timeout:g}: expected a number of seconds above 0")
    if options.page and not Path(options.page).resolve().parent.is_dir():
        raise UsageError(f"--page {options.page}: there is no folder for it; make the folder first")
    plan = replace(PLANS[options.plan], timeout_seconds=options.timeout)
    entries = selection.select(options)
    notes = console.console(stderr=True)

    def tell(text: str) -> None:
        notes.print(text, soft_wrap=True, markup=False)

    with measurement_lock.alone():
        session = LoadSession(
            entries,
            scenario,
            plan,
            Path(options.results),
            options.seed,
            flags(options),
            tell,
            options.fresh,
        )
        if session.journal.resumed:
            tell(journal.opening(session.journal.run, session.known()))
        try:
            lines = session.measure()
        except KeyboardInterrupt:
            tell(journal.interrupted(session.known()))
            return RESUMABLE
    if options.page:
        from reports.pages import load

        load.write(lines, Path(options.page))
    if options.json:
        found = {
            "results": str(session.file),
            "resumed": session.journal.resumed,
            "page": options.page,
        }
        print(json.dumps({**found, "lines": lines}))
    else:
        from reports.terminal.load import show

        show(lines, console.console())
        print(f"results  {session.file}" + (f"\npage     {options.page}" if options.page else ""))
    return (
        1
        if any(line["outcome"] in UNWANTED for line in lines) or nothing_keeps(scenario, lines)
        else 0
    )


def nothing_keeps(scenario: Scenario, lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a bound was given, something was measured, and nothing of it keeps the bound."""
    answers = [line["answer"] for line in lines if line["outcome"] == "ok" and line["answer"]]
    found = [answer.get("batch") or answer.get("rate_per_second") for answer in answers]
    return bool(scenario.bound_ns and answers and not any(found))


def flags(options: argparse.Namespace) -> str:
    """The flags of the scenario as they were given, for the command that measures the same again."""
    words = ["--scenario", options.scenario]
    for flag in FLAGS:
        value = getattr(options, flag)
        if value is not None:
            listed = value if isinstance(value, tuple) else (str(value),)
            words += [
                f"--{flag}",
                ",".join(each if isinstance(each, str) else f"{each:g}" for each in listed),
            ]
    return shlex.join([*words, "--plan", options.plan, "--seed", str(options.seed)])
