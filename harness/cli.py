"""The `evenbench` command:
list, run, report, advise, ship, footprint, inspect, compare, bisect, bridge, tune, controls, environments, doctor and new.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__, bisection, bridge, choosing, compare, history, inspection, late, results, shipping, targets, tuning, worker
from harness.schedule import Run
from harness.types import PLANS, UsageError

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED, USAGE = 130, 4
UNWANTED = ("mismatch", "fallback", "failed")
"""The outcomes that make `evenbench run` exit with 1."""

DESCRIPTION = "Runs one model on every runtime you could ship, from the same bytes, and refuses to time a wrong answer."

EPILOG = """\
exit codes:
  0    everything went as asked; of `run`: every cell is ok, unsupported or unavailable
  1    `run`: some cell is a mismatch, a fallback or failed; `controls`: a wrong answer slipped through
  2    a flag is unknown or malformed
  4    what was asked for cannot be: the line `evenbench: error: ...` says what to do
  130  interrupted; the same `run` command goes on where it stopped
"""

RUN_EPILOG = """\
targets are folders, bench_*.py files or `file::case`, or models of your own that need no declaration:
  evenbench run model.onnx                                    inputs from the shapes that the file declares
  evenbench run model.onnx --input cat.jpg --recipe imagenet_224
  evenbench run mypackage.models:build --shape 1x3x224x224    build() returns a module, or (module, example_inputs)
  evenbench run path/file.py:build --backends ort,openvino --batch 1,8
parity of your own model is judged against its float64 run, or against ONNX's reference evaluator where only an
.onnx file exists; the run says which.

"""


MODEL_FILES = ".onnx, TorchScript .pt, .pt2, or a TensorRT plan"
"""What `inspect` reads besides results."""

TUNE_EPILOG = """\
  evenbench tune benchmarks/matrix.py -k "digits_cnn and tvm and fp32" --trials 32
trials are kept in the cache and applied when the cell is next prepared, which says so: untuned, or tuned(N). 1 is a tuner that
crashed, hung or failed; what it recorded stays, and the same command goes on.

"""


def parser() -> argparse.ArgumentParser:
    """The command line, all of it."""
    from harness import footprint, notices, upkeep

    top = _Parser(prog="evenbench", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"evenbench {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    listing = commands.add_parser("list", help="show every cell and whether it can run", epilog=RUN_EPILOG + EPILOG)
    targets.add_arguments(listing)
    listing.set_defaults(do=list_cells)
    running = commands.add_parser("run", help="measure cells, or go on with an interrupted run", epilog=RUN_EPILOG + EPILOG)
    targets.add_arguments(running)
    _add_run_options(running)
    running.set_defaults(do=run)
    reporting = commands.add_parser("report", help="write the HTML report of recorded results")
    reporting.add_argument(
        "paths", nargs="*", default=["results"], metavar="PATH", help="results files or folders (results)"
    )
    reporting.add_argument("-o", "--output", default="site", metavar="DIR", help="where index.html is written (site)")
    reporting.add_argument("--markdown", action="store_true", help="print the tables of precisions and of bindings as Markdown instead")
    reporting.add_argument("--asv", metavar="DIR", help="the site that `asv publish` made: it and the report link to each other")
    reporting.set_defaults(do=report)
    advising = commands.add_parser("advise", help="which recorded cells keep your limits, and why not the others", epilog=choosing.EPILOG)
    choosing.add_arguments(advising)
    advising.set_defaults(do=advise)
    deploying = commands.add_parser("ship", help="write a program that runs a cell's artifact, and prove it", epilog=shipping.EPILOG)
    shipping.add_arguments(deploying)
    deploying.set_defaults(do=shipping.run)
    sizing = commands.add_parser("footprint", help="what must be installed to run a backend, and its size", epilog=footprint.EPILOG)
    footprint.add_arguments(sizing)
    sizing.set_defaults(do=lambda options: footprint.run(options, _console()))
    inspecting = commands.add_parser("inspect", help="show all that is known of a cell, results or a model file", epilog=EPILOG)
    inspecting.add_argument("thing", metavar="THING", help="a cell's id or key, a results file or folder, or a model: " + MODEL_FILES)
    inspecting.add_argument("--shape", default="", help="of the inputs of a model file that does not say them, such as 1x3x224x224")
    inspecting.add_argument("--unloaded", action="store_true", help="read a model file only; load it into no runtime")
    inspecting.add_argument("--results", default="results", metavar="DIR", help="where cells are looked up (results)")
    inspecting.set_defaults(do=inspect)
    comparing = commands.add_parser("compare", help="is HEAD slower than BASE? measured in pairs", epilog=compare.EPILOG)
    compare.add_arguments(comparing)
    comparing.set_defaults(do=in_pairs)
    bisecting = commands.add_parser("bisect", help="which commit made a cell worse? each step in pairs", epilog=bisection.EPILOG)
    bisection.add_arguments(bisecting)
    bisecting.set_defaults(do=in_pairs)
    bridging = commands.add_parser("bridge", help="what did a runtime's upgrade change? old against new, in pairs", epilog=bridge.EPILOG)
    bridge.add_arguments(bridging)
    bridging.set_defaults(do=in_pairs)
    looking_back = commands.add_parser("history", help="recorded results over commits, and steps in them", epilog=history.EPILOG)
    history.add_arguments(looking_back)
    looking_back.set_defaults(do=look_back)
    controlling = commands.add_parser("controls", help="run runtimes made wrong on purpose: each must be caught", epilog=EPILOG)
    targets.add_arguments(controlling)
    controlling.set_defaults(do=control)
    searching = commands.add_parser("tune", help="search for faster schedules, where a backend can use them", epilog=TUNE_EPILOG + EPILOG)
    targets.add_arguments(searching)
    tuning.add_arguments(searching)
    searching.set_defaults(do=tune)
    housing = commands.add_parser("environments", help="the environments that backends such as ort@1.24.1 live in", epilog=EPILOG)
    housing.set_defaults(do=keep_environments, action="list")
    upkeep.add_arguments(housing)
    notifying = commands.add_parser("notify", help="open, update or close the one issue of a scheduled check", epilog=notices.EPILOG)
    notices.add_arguments(notifying)
    notifying.set_defaults(do=notices.run)
    examining = commands.add_parser("doctor", help="what is installed, what is missing, what disturbs measurements here")
    examining.set_defaults(do=examine)
    for command in (listing, running, reporting, inspecting, controlling, searching, housing, examining):
        command.add_argument("--json", action="store_true", help="one JSON value on standard output instead of text")
    making = commands.add_parser("new", help="write a working starting file")
    making.add_argument("kind", choices=("backend", "model", "case"))
    making.add_argument("name", metavar="NAME", help="such as my-runtime or resnet34")
    making.add_argument("--into", default=".", metavar="DIR", help="where the files are written (the working folder)")
    making.set_defaults(do=make)
    return top


class _Parser(argparse.ArgumentParser):
    """Keeps the line breaks of epilogs, and takes no abbreviated flags, which would break when flags are added."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--plan", choices=sorted(PLANS), default="default", help="how much is measured (default)")
    command.add_argument("--results", default="results", metavar="DIR", help="where outcomes are appended (results)")
    command.add_argument("--site", metavar="DIR", help="also write the HTML report here")
    command.add_argument("--fresh", action="store_true", help="start anew even where an interrupted run could be resumed")
    command.add_argument("--timeout", type=float, metavar="SECONDS", help="of one process (600)")
    command.add_argument("--seed", type=int, default=0, help="of the order in which cells are measured (0)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors of usage are told in one line, without a traceback."""
    options = parser().parse_args(arguments)
    try:
        _check_packages()
        code: int = options.do(options)
        sys.stdout.flush()
        return code
    except UsageError as error:
        print(f"evenbench: error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("evenbench: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `evenbench list | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder without permission: what is recorded stays
        print(f"evenbench: error: {error}; make room or check permissions, then try again", file=sys.stderr)
        return USAGE


def _check_packages() -> None:
    """Raise UsageError where a folder of the user's hides a package of ours: what it breaks later would be told in other words."""
    import importlib.util

    home = Path(__file__).resolve().parent.parent
    for name in late.OURS:
        spec = importlib.util.find_spec(name)
        found = [*((spec and spec.submodule_search_locations) or ()), *([spec.origin] if spec and spec.origin else [])]
        if found and Path(found[0]).resolve() != home / name:
            raise UsageError(f"{found[0]} hides evenbench's own package {name!r}; rename it, or run from another folder")


# -- commands --------------------------------------------------------------------------------------------------------


def list_cells(options: argparse.Namespace) -> int:
    """One line per cell, or one JSON array."""
    prospects = list(inspection.prospects(targets.select(options)))
    if options.json:
        print(json.dumps(prospects))
        return 0
    width = max(len(prospect["id"]) for prospect in prospects)
    lines = (f"{prospect['id']:<{width}}  {inspection.prospect_note(prospect)}".rstrip() for prospect in prospects)
    print("\n".join(lines))
    return 0


def run(options: argparse.Namespace) -> int:
    """Measure the selected cells, or what an interrupted run left of them; show the table; say where the results are."""
    from harness import progress

    worker.interrupt_when_ended()
    entries = targets.select(options)
    plan = PLANS[options.plan] if options.timeout is None else replace(PLANS[options.plan], timeout_seconds=options.timeout)
    with progress.Display(_console(stderr=True), plan) as display:
        session = Run(entries, plan, Path(options.results), options.seed, options.fresh, display.hear)
        display.open(session)
        try:
            lines = session.measure(entries)
        except KeyboardInterrupt:
            display.close_interrupted(session)
            return INTERRUPTED
        session.finish()
    site = _write_site([options.results], options.site)[0] if options.site else None
    _show_run(options, session, lines, site)
    return 1 if any(line["outcome"] in UNWANTED for line in lines) else 0


def _show_run(options: argparse.Namespace, session: Run, lines: list[results.Record], site: Path | None) -> None:
    if options.json:
        found = {
            "run": session.file.id,
            "results": str(session.file.file),
            "resumed": session.resumed,
            "site": site and str(site),
        }
        print(json.dumps({**found, "outcomes": lines}))
        return
    from reports import table

    table.render(lines, _console())
    print(f"results  {session.file.file}")
    print(f"report   {site}" if site else f"report   evenbench report {shlex.quote(options.results)}")


def report(options: argparse.Namespace) -> int:
    """Write the HTML report of everything under the paths, or print its tables of precisions as Markdown."""
    if options.markdown:
        from reports import binding, precisions, shape

        newest, _ = shape.newest(_outcomes(options.paths).lines)
        found = shape.results(newest)
        print("\n".join(filter(None, (precisions.markdown(found), binding.markdown(found)))))
        return 0
    site, reading = _write_site(options.paths, options.output, options.asv)
    if options.json:
        print(json.dumps({"site": str(site), "outcomes": len(reading.lines), "notes": reading.notes}))
        return 0
    for note in reading.notes:
        print(f"note: {note}", file=sys.stderr)
    print(site)
    return 0


def _outcomes(paths: Sequence[str]) -> results.Reading:
    reading = results.read([Path(path) for path in paths])
    if not reading.lines:
        raise UsageError(f"{' '.join(paths)}: no outcomes to report; run `evenbench run` first, or name another folder")
    return reading


def _write_site(paths: Sequence[str], folder: str, asv: str | None = None) -> tuple[Path, results.Reading]:
    from harness import asv_site
    from reports import site

    reading = _outcomes(paths)
    try:
        there = asv_site.address(Path(asv), Path(folder)) if asv else ""
        written = site.write(reading.lines, Path(folder), reading.notes, there)
        if asv:
            asv_site.link_back(Path(asv), Path(folder))
        return written, reading
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"report folder {folder} cannot be written ({error.strerror}); name another with -o") from error


def advise(options: argparse.Namespace) -> int:
    """What can be recommended of what was recorded."""
    return choosing.run(options, _console())


def inspect(options: argparse.Namespace) -> int:
    """All that is known of one thing."""
    from harness import modelfile

    path = Path(options.thing)
    if path.suffix in (".onnx", ".pt", ".pt2", ".engine", ".plan") and not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of a model")
    if modelfile.is_model(path):
        facts = modelfile.look(path, options.shape, load=not options.unloaded)
        return _show(options, facts, modelfile.sections(facts))
    if path.exists():
        reading = results.read([path])
        runs = inspection.summary(reading)
        return _show(options, {"runs": runs, "notes": reading.notes}, inspection.summary_sections(runs, reading.notes))
    line = inspection.find_outcome(options.thing, Path(options.results))
    return _show(options, line, inspection.outcome_sections(line))


def _show(options: argparse.Namespace, value: Any, sections: Sequence[inspection.Section]) -> int:
    if options.json:
        print(json.dumps(value))
    else:
        inspection.show(sections, _console())
    return 0


def in_pairs(options: argparse.Namespace) -> int:
    """`compare`, `bisect` or `bridge`, whose notes go to standard error."""
    commands = {"compare": compare.run, "bisect": bisection.run, "bridge": bridge.run}
    return commands[options.command](options, _console(), _console(stderr=True))


def look_back(options: argparse.Namespace) -> int:
    """Recorded results over commits, and the steps that nobody accepted."""
    return history.run(options, _console(), _console(stderr=True))


def control(options: argparse.Namespace) -> int:
    """Every negative control on every model that the targets name."""
    from harness import controls

    models = list({entry.cell.model.name: entry.cell.model for entry in targets.select(options)}.values())
    with tempfile.TemporaryDirectory() as folder:
        found = controls.run(models, Path(folder))
    if options.json:
        keys = ("model", "backend", "verdict", "reason")
        print(json.dumps([{key: getattr(each, key) for key in keys} for each in found]))
    else:
        controls.show(found, _console())
    return 1 if any(each.verdict in (controls.SLIPPED, controls.FAILED) for each in found) else 0


def examine(options: argparse.Namespace) -> int:
    """What the doctor sees."""
    from harness import doctor

    found = doctor.examine()
    if options.json:
        print(json.dumps(found))
    else:
        doctor.show(found, _console())
    return 0


def tune(options: argparse.Namespace) -> int:
    """Trials for every cell that can use them."""
    worker.interrupt_when_ended()
    found = tuning.run(tuning.cells_of(targets.select(options)), options.trials, options.timeout, _console(stderr=True))
    if options.json:
        print(json.dumps(found))
    return 1 if any(result["outcome"] in UNWANTED for result in found) else 0


def keep_environments(options: argparse.Namespace) -> int:
    """List the environments of backends, or lock, build or remove those of the named ones."""
    from harness import upkeep

    def tell(words: str) -> None:
        print(words, file=sys.stderr)

    if options.action == "lock":
        found: Any = {name: list(upkeep.lock(name, tell, options.fresh).packages) for name in options.names}
    elif options.action == "build":
        found = {name: upkeep.build(name, tell, options.fresh).python for name in options.names}
    elif options.action == "remove":
        found = [", ".join(lock.requirements) for lock in upkeep.remove(options.names)]
    else:
        found = upkeep.known()
    print(json.dumps(found) if options.json else "\n".join(upkeep.in_words(found)))
    return 0


def make(options: argparse.Namespace) -> int:
    """Write a starting file, and say what to do with it."""
    from harness import scaffold

    for line in scaffold.write(options.kind, options.name, Path(options.into)):
        print(line)
    return 0


def _console(stderr: bool = False) -> Console:
    """A console of the terminal's width; a file or pipe gets lines long enough that nothing is folded."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=200)


if __name__ == "__main__":
    sys.exit(main())
