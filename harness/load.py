"""`evenbench load`: cells under a scenario of load, each in fresh processes, judged before a number is told, and kept as lines."""

from __future__ import annotations

import argparse
import json
import random
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import __version__, choosing, loadgen, machine, outcome, registry, results, resuming, scenarios, targets, terminal, worker
from harness.codes import RESUMABLE
from harness.outcome import Entry
from harness.preparation import Prepared, Preparer, Refusal
from harness.resuming import Ledger
from harness.scenarios import CONCURRENT, GAPS, NAMES, SERVER, SHAPES, SINGLE, SWEEP, Scenario
from harness.types import BATCH, HOST_TO_HOST, PHASES, PLANS, Cell, Plan, UsageError
from harness.worker import Job, Reply

FOLDER = "load"
"""Within the results folder, where readers of outcomes do not look."""

UNWANTED = ("mismatch", "fallback", "failed")
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
  server         Poisson arrivals by MLCommons' load generator ({loadgen.HINT}); the highest rate whose p99 keeps --p99
  idle-gaps      calls after pauses: what waking up costs
  shapes         batch sizes, sizes of the inputs, or both (--vary) that change from call to call: the first of each, and the later ones

exit codes:
  0  every cell is ok, unsupported or unavailable
  1  some cell is a mismatch, a fallback or failed, or nothing keeps the bound that was given
  4  what was asked for cannot be
  130  interrupted; the same command goes on where it stopped
"""

FLAGS = {
    "p99": (SWEEP, SERVER),
    "vary": (SHAPES,),
    "batches": (SWEEP, SHAPES),
    "callers": (CONCURRENT, SERVER),
    "gaps": (GAPS,),
    "rounds": (GAPS,),
    "rate": (SERVER,),
    "seconds": (SINGLE, SWEEP, CONCURRENT, SERVER, SHAPES),
}
"""The flags that mean something in some scenarios only."""


FIELDS = {"p99": "bound_ns", "vary": "vary", "batches": "batches", "callers": "callers", "gaps": "gaps_ms", "rounds": "rounds"}
FIELDS |= {"rate": "rate_per_second", "seconds": "seconds"}
"""What each of them sets."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    targets.add_arguments(command)
    command.add_argument("--scenario", required=True, choices=NAMES, metavar="S", help=f"one of {', '.join(NAMES)}")
    shape = command.add_argument_group("of a scenario")
    shape.add_argument("--p99", metavar="20MS", help="the latency that 99 %% of the calls must keep (batch-sweep, server)")
    what = "of shapes: batch, size (those that a model declares), or both (batch)"
    shape.add_argument("--vary", type=lambda text: tuple(text.split(",")), metavar="WHAT,...", help=what)
    shape.add_argument("--batches", type=_numbers, metavar="N,...", help="batch sizes (1,2,4,8,16,32; of shapes 1,2,4,8)")
    shape.add_argument("--callers", type=_numbers, metavar="N,...", help="threads (1,2,4; of server one number, 1)")
    shape.add_argument("--gaps", type=_times, metavar="MS,...", help="between calls (0,10,100,1000)")
    shape.add_argument("--rounds", type=int, metavar="N", help="calls after each gap, per process (15)")
    shape.add_argument("--rate", type=float, metavar="N", help="judge this many arrivals per second, and search for no other")
    shape.add_argument("--seconds", type=float, metavar="S", help="of calls at each point, per process (3)")
    command.add_argument("--plan", choices=sorted(PLANS), default="default", help="how many processes, and their warm-up (default)")
    command.add_argument("--seed", type=int, default=0, help="of all orders and of arrivals (0)")
    command.add_argument("--timeout", type=float, default=TIMEOUT_SECONDS, metavar="SECONDS", help="of one process (3600)")
    command.add_argument("--results", default="results", metavar="DIR", help=f"lines go into its folder {FOLDER} (results)")
    command.add_argument("--fresh", action="store_true", help=resuming.FRESH)
    command.add_argument("--page", metavar="FILE", help="also write a page, one HTML file")
    command.add_argument("--json", action="store_true", help="one JSON value on standard output instead of text")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 1,2,4") from None


def _times(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of times in ms such as 0,10,100") from None


def scenario_of(options: argparse.Namespace) -> Scenario:
    """The scenario that the flags describe. Raises UsageError for a flag that it does not have, or a value that cannot be."""
    name = options.scenario
    for flag, owners in FLAGS.items():
        if getattr(options, flag) is not None and name not in owners:
            raise UsageError(f"--{flag} is for {' and '.join(owners)}, not {name}; leave it out")
    if options.rate is not None and not options.rate > 0:
        raise UsageError(f"--rate {options.rate:g}: expected a number of arrivals per second above 0; without it the highest is searched")
    bound = round(choosing.quantity(options.p99, "time", "--p99", "20ms")) if options.p99 is not None else 0
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
    made = Scenario(name, bound_ns=bound, seed=options.seed, **{key: value for key, value in asked.items() if value is not None})
    if name == SERVER and len(made.callers) != 1:
        raise UsageError(f"--callers {','.join(map(str, made.callers))}: the server has one number of threads that answer; name one")
    if name == SHAPES and made.has_batches and len(made.batches) < 2:
        raise UsageError("--scenario shapes needs two sizes or more to change between; name them with --batches, such as 1,2,4,8")
    if options.batches and not made.has_batches:
        raise UsageError(f"--batches names batches to change between, and --vary {','.join(made.vary)} keeps each cell's own; leave it out")
    return made


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    worker.interrupt_when_ended()
    scenario = scenario_of(options)
    if options.timeout <= 0:
        raise UsageError(f"--timeout {options.timeout:g}: expected a number of seconds above 0")
    if options.page and not Path(options.page).resolve().parent.is_dir():
        raise UsageError(f"--page {options.page}: there is no folder for it; make the folder first")
    plan = replace(PLANS[options.plan], timeout_seconds=options.timeout)
    entries = targets.select(options)
    notes = terminal.console(stderr=True)

    def tell(text: str) -> None:
        notes.print(text, soft_wrap=True, markup=False)

    with machine.alone():
        session = Session(entries, scenario, plan, Path(options.results), options.seed, flags(options), tell, options.fresh)
        if session.ledger.resumed:
            tell(resuming.opening(session.ledger.run, session.known()))
        try:
            lines = session.measure()
        except KeyboardInterrupt:
            tell(resuming.interrupted(session.known()))
            return RESUMABLE
    if options.page:
        from reports import load_page

        load_page.write(lines, Path(options.page))
    if options.json:
        found = {"results": str(session.file), "resumed": session.ledger.resumed, "page": options.page}
        print(json.dumps({**found, "lines": lines}))
    else:
        from reports import load

        load.show(lines, terminal.console())
        print(f"results  {session.file}" + (f"\npage     {options.page}" if options.page else ""))
    return 1 if any(line["outcome"] in UNWANTED for line in lines) or nothing_keeps(scenario, lines) else 0


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
            words += [f"--{flag}", ",".join(each if isinstance(each, str) else f"{each:g}" for each in listed)]
    return shlex.join([*words, "--plan", options.plan, "--seed", str(options.seed)])


# -- the session -----------------------------------------------------------------------------------------------------


@dataclass
class Part:
    """One prepared cell of a line: the line's own, or that of one batch size. What its processes found, and how it ended."""

    cell: Cell
    prepared: Prepared | None = None
    processes: list[results.Record] = field(default_factory=list)
    ended: Reply | None = None


@dataclass
class Session:
    """Some cells under one scenario and plan. `tell` gets a sentence before anything slow starts."""

    entries: Sequence[Entry]
    scenario: Scenario
    plan: Plan
    results_folder: Path
    seed: int = 0
    flags: str = ""
    tell: Callable[[str], None] = lambda text: None
    fresh: bool = False
    """Whether to leave an interrupted run of the same as it is."""
    file: Path = field(init=False)
    run: dict[str, Any] = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        folder = results.folder(self.results_folder / FOLDER)
        wanted = resuming.manifest(self._bases(), self.plan, self.seed, results.LOAD, scenario=told_of(self.scenario))
        self.ledger = Ledger.open(folder, wanted, results.LOAD, self.fresh)
        self.file, known = self.ledger.run.file, {"id": self.ledger.run.id, "started": self.ledger.run.manifest["started"]}
        plan = {"plan": self.plan.name, "processes": self.plan.processes}
        self.run = {**known, "seed": self.seed, **plan, "evenbench": __version__}
        self._preparer = Preparer(self.plan.timeout_seconds, lambda kind, text: self.tell(f"making {kind} for {text}"))

    def measure(self) -> list[results.Record]:
        """Every cell's line, in order; each is on the disk when it is known. What an interrupted run found is not measured again."""
        waiting = {key: (entry, self._parts(entry.cell)) for key, entry in self._bases().items()}
        for key, (entry, parts) in waiting.items():
            if self.ledger.was_refused(key):
                continue
            for part in parts:
                self._prepare(part)
            if not self.ledger.stands(key, [part.prepared for part in parts]):
                self._settle(entry, parts)
        shuffle = random.Random(self.seed)
        for sweep in range(self.plan.processes):
            left = [each for key, each in waiting.items() if key not in self.ledger.lines]
            order = [(entry, parts, part) for entry, parts in left for part in parts if not part.ended and len(part.processes) <= sweep]
            shuffle.shuffle(order)
            for entry, parts, part in order:
                self.tell(f"{self.scenario.name}: {part.cell.id} {sweep + 1}/{self.plan.processes}")
                self._once(part)
                self._settle(entry, parts)
        self.ledger.run.finish()
        return [self.ledger.lines[key] for key in waiting]

    def known(self) -> str:
        """How much is known, in words."""
        bases = self._bases()
        return self.ledger.words(list(bases), lambda key: [part.cell.key for part in self._parts(bases[key].cell)])

    def _bases(self) -> dict[str, Entry]:
        """The cells by key. Where batch sizes are the scenario's, cells that differ in theirs alone are one."""
        found: dict[str, Entry] = {}
        for entry in self.entries:
            cell = replace(entry.cell, batch=max(self.scenario.batches)) if self.scenario.has_batches else entry.cell
            found.setdefault(cell.key, replace(entry, cell=cell))
        return found

    def _parts(self, cell: Cell) -> list[Part]:
        sizes = sorted(self.scenario.batches) if self.scenario.name == SWEEP else [cell.batch]
        return [Part(replace(cell, batch=size)) for size in sizes]

    def _prepare(self, part: Part) -> None:
        lacking = loadgen.lacks() if self.scenario.name == SERVER and not part.cell.interpreter_name else ""
        fixed = self._fixed(part.cell)
        if lacking:
            part.ended = Reply(None, "unavailable", "prepare", lacking)
        elif fixed:
            part.ended = Reply(None, "unsupported", "prepare", f"{part.cell.model.name} {fixed}")
        else:
            self.tell(f"preparing {part.cell.id}")
            prepare = self._preparer.prepare_sizes if self.scenario.has_sizes else self._preparer.prepare
            try:
                part.prepared = prepare(part.cell)
            except Refusal as refusal:
                part.ended = refusal.reply
                return
            part.processes = self.ledger.processes(part.cell.key, part.prepared)
            if len(part.processes) >= self.plan.processes:
                part.ended = Reply(None)

    def _fixed(self, cell: Cell) -> str:
        """What the scenario changes and the cell's model has one of, in words, or an empty string."""
        if cell.batch != 1 and not any(BATCH in spec.shape for spec in cell.model.inputs):
            return "declares no batch dimension: every call is one sample"
        if self.scenario.has_sizes and not cell.model.sizes:
            return "declares one size; give it others with sizes= (docs/load.md)"
        return ""

    def _once(self, part: Part) -> None:
        """One process of one part."""
        assert part.prepared is not None
        job = Job("load", part.cell, folders=part.prepared.folders(), plan=self.plan, scenario=self.scenario)
        reply = self._preparer.work(job)
        if reply.value is None:
            part.ended = reply
            return
        other = part.prepared.difference(reply.value)
        part.processes.append({**reply.value, "wall_seconds": reply.wall_seconds})
        wrong = Reply(None, "failed", "load", other) if other else outcome.verdict(reply.value)
        if not wrong:
            self.ledger.keep(part.cell.key, part.prepared, part.processes[-1])
        if wrong or len(part.processes) == self.plan.processes:
            part.ended = wrong or Reply(None)

    def _settle(self, entry: Entry, parts: Sequence[Part]) -> None:
        """The cell's one line, once all of its parts have ended: written to the disk."""
        if all(part.ended for part in parts) and entry.cell.key not in self.ledger.lines:
            self.ledger.settle(self._line(entry, parts))

    def _line(self, entry: Entry, parts: Sequence[Part]) -> dict[str, Any]:
        told = [self._told(part) for part in parts]
        wrong = [each for each in told if each["outcome"] in UNWANTED]
        right = [each for each in told if each["outcome"] == "ok"]
        deciding = (wrong or right or told)[0]
        which = f"batch {deciding['cell']['batch']}: " if len(told) > 1 and deciding["reason"] else ""
        measured = [part for part in parts if part.processes]
        last = measured[-1] if measured else parts[0]
        command = entry.command.replace("evenbench run", "evenbench load", 1)
        return {
            "load": results.LOAD.newest,
            "run": self.run,
            "time": results.timestamp(),
            "case": entry.case,
            "cell": entry.cell.described(),
            "role": registry.row(entry.cell.backend).role,
            "scenario": told_of(self.scenario),
            "boundary": HOST_TO_HOST,
            "outcome": deciding["outcome"],
            "phase": deciding["phase"],
            "reason": which + deciding["reason"],
            "parts": told,
            "answer": answer(self.scenario, right),
            "environment": outcome.environment_of(last.prepared, last.processes),
            "reproduce": f"{command} --cell {shlex.quote(self._named(entry))} {self.flags}",
        }

    def _named(self, entry: Entry) -> str:
        """The id of the cell as it was declared, whose batch the scenario may have replaced."""
        same = [each.cell.id for each in self.entries if replace(each.cell, batch=entry.cell.batch).key == entry.cell.key]
        return same[0]

    def _told(self, part: Part) -> dict[str, Any]:
        """One part as JSON. A wrong answer keeps its verdict and loses its times."""
        assert part.ended is not None
        right, taken, prepared = part.ended.outcome == "ok", part.processes, part.prepared
        last = taken[-1] if taken else {}
        phases = {phase: [each["phases_seconds"][phase] for each in taken if phase in each["phases_seconds"]] for phase in PHASES}
        worst = max((each["parity"] for each in taken if each["parity"]), key=lambda found: float(found["needed"]), default=None)
        return {
            "cell": part.cell.described(),
            "outcome": part.ended.outcome,
            "phase": part.ended.phase,
            "reason": part.ended.reason,
            "traceback": part.ended.traceback,
            "signal": part.ended.signal,
            "points": scenarios.points(self.scenario, part.cell.batch, [each["points"] for each in taken]) if right else [],
            "blocks": [each["block"] for each in taken] if right else [],
            "clock": last.get("clock", "") if right else "",
            "warm_up": [each["warm_up"] for each in taken] if right else [],
            "phases_seconds": phases if right else {},
            "memory": {"peak_rss_bytes": [each["peak_rss_bytes"] for each in taken] if right else []},
            "gpu": [each["gpu"] for each in taken if each["gpu"]],
            "parity": worst,
            "sizes": last.get("sizes", []),
            "accuracy": last.get("accuracy"),
            "attested": last.get("attested"),
            "artifact_sha256": prepared.artifact.sha256 if prepared else "",
            "input_sha256": prepared.inputs.facts["sha256"] if prepared else "",
            "weights": prepared.weights if prepared else None,
        }


def told_of(scenario: Scenario) -> dict[str, Any]:
    """The scenario as JSON: its name, its seed, and what else it knows."""
    names = [field for flag, field in FIELDS.items() if scenario.name in FLAGS[flag] and (flag != "batches" or scenario.has_batches)]
    known = {field: getattr(scenario, field) for field in names}
    return {"name": scenario.name, "seed": scenario.seed, **known}


def answer(scenario: Scenario, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What a reader came for, where the scenario has one: the best batch, or the highest valid rate."""
    points = [point for part in parts for point in part["points"]]
    if scenario.name == SWEEP and points:
        return scenarios.best_batch(points, scenario.bound_ns)
    if scenario.name == SERVER and points:
        (point,) = points
        rate = scenarios.value_of(point["rate"])
        reason = next((reason for reason in point["reasons"] if reason), "")
        return {"bound_ns": scenario.bound_ns, "rate_per_second": rate, "reason": reason}
    return None
