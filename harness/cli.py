"""The `evenbench` command: its table of commands, and the few that have no module of their own."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from harness import (
    __version__,
    bisection,
    bridge,
    choosing,
    codes,
    compare,
    history,
    inspection,
    late,
    levels,
    load,
    pipeline,
    reporting,
    results,
    running,
    shipping,
    targets,
    terminal,
    tuning,
    worker,
)
from harness.types import UsageError

GATES = ("compare", "bisect", "bridge", "history")
"""Commands that do not go on later, so that an interruption is pytest's as well."""

DESCRIPTION = "Runs one model on every runtime you could ship, from the same bytes, and refuses to time a wrong answer."

EPILOG = """\
exit codes:
  0    everything went as asked; of `run`: every cell is ok, unsupported or unavailable
  1    `run`: some cell is a mismatch, a fallback or failed; `controls`: a wrong answer slipped through
  3    a fault of evenbench itself, with its traceback: no answer of any kind
  4    a flag is malformed, or what was asked for cannot be: the line `error: ...` says what to do
  130  interrupted; the same `run` command goes on where it stopped
"""


MODEL_FILES = ".onnx, TorchScript .pt, .pt2, or a TensorRT plan"
"""What `inspect` reads besides results."""

TUNE_EPILOG = """\
  evenbench tune benchmarks/matrix.py -k "digits_cnn and tvm and fp32" --trials 32
trials are kept in the cache and applied when the cell is next prepared, which says so: untuned, or tuned(N). 1 is a tuner that
crashed, hung or failed; what it recorded stays, and the same command goes on.

"""


class Command(NamedTuple):
    """One line of the command's help, and where the rest is: a module's flags and its `run`."""

    help: str
    epilog: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _of(module: Any, help: str) -> Command:
    """A command that has a module of its own: its `EPILOG`, `add_arguments` and `run`."""
    return Command(help, module.EPILOG, module.add_arguments, module.run)


def commands() -> dict[str, Command]:
    """Every command by name, in the order in which the help shows them."""
    from harness import footprint, notices, parting, upkeep

    run_epilog = running.EPILOG + EPILOG
    return {
        "list": Command("show every cell and whether it can run", run_epilog, running.add_list_arguments, running.show),
        "run": Command("measure cells, or go on with an interrupted run", run_epilog, running.add_arguments, running.run),
        "report": Command("write the HTML report of recorded results", "", reporting.add_arguments, reporting.run),
        "advise": _of(choosing, "which recorded cells keep your limits, and why not the others"),
        "ship": _of(shipping, "write a program that runs a cell's artifact, and prove it"),
        "footprint": _of(footprint, "what must be installed to run a backend, and its size"),
        "levels": _of(levels, "by how many levels libraries differ that prepare a photo"),
        "pipeline": _of(pipeline, "frames per second from the encoded frame to the drawn answer"),
        "load": _of(load, "batches, callers, arrivals, pauses, changing shapes: latency and throughput"),
        "inspect": Command("show all that is known of a cell, results or a model file", EPILOG, _add_inspect_arguments, inspect),
        "compare": _of(compare, "is HEAD slower than BASE? measured in pairs"),
        "bisect": _of(bisection, "which commit made a cell worse? each step in pairs"),
        "bridge": _of(bridge, "what did a runtime's upgrade change? old against new, in pairs"),
        "history": _of(history, "recorded results over commits, and steps in them"),
        "diff": _of(parting, "the first tensor at which two cells part"),
        "controls": Command("run runtimes made wrong on purpose: each must be caught", EPILOG, running.add_list_arguments, control),
        "tune": Command("search for faster schedules, where a backend can use them", TUNE_EPILOG + EPILOG, _add_tune_arguments, tune),
        "environments": Command("the environments that backends such as ort@1.24.1 live in", EPILOG, upkeep.add_arguments, upkeep.run),
        "notify": _of(notices, "open, update or close the one issue of a scheduled check"),
        "doctor": Command("what is installed, what is missing, what disturbs measurements here", "", _add_json_flag, examine),
        "new": Command("write a working starting file", "", _add_new_arguments, make),
    }


def parser() -> argparse.ArgumentParser:
    """The command line, all of it."""
    top = _Parser(prog="evenbench", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"evenbench {__version__}")
    under = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, command in commands().items():
        made = under.add_parser(name, help=command.help, epilog=command.epilog or None)
        command.add_arguments(made)
        made.set_defaults(do=command.run)
    return top


class _Parser(argparse.ArgumentParser):
    """Keeps the line breaks of epilogs, and takes no abbreviated flags, which would break when flags are added."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """End as every other misuse does; argparse's own 2 is what pytest calls an interruption."""
        self.print_usage(sys.stderr)
        self.exit(codes.USAGE, f"{self.prog}: error: {message}\n")


def _add_json_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON value on standard output instead of text")


def _add_inspect_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("thing", metavar="THING", help="a cell's id or key, a results file or folder, or a model: " + MODEL_FILES)
    command.add_argument("--shape", default="", help="of the inputs of a model file that does not say them, such as 1x3x224x224")
    command.add_argument("--unloaded", action="store_true", help="read a model file only; load it into no runtime")
    command.add_argument("--results", default="results", metavar="DIR", help="where cells are looked up (results)")
    _add_json_flag(command)


def _add_tune_arguments(command: argparse.ArgumentParser) -> None:
    targets.add_arguments(command)
    tuning.add_arguments(command)
    _add_json_flag(command)


def _add_new_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("kind", choices=("backend", "model", "case"))
    command.add_argument("name", metavar="NAME", help="such as my-runtime or resnet34")
    command.add_argument("--into", default=".", metavar="DIR", help="where the files are written (the working folder)")


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
        return codes.USAGE
    except KeyboardInterrupt:
        print("evenbench: interrupted", file=sys.stderr)
        return codes.INTERRUPTED if options.command in GATES else codes.RESUMABLE
    except BrokenPipeError:  # `evenbench list | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder without permission: what is recorded stays
        print(f"evenbench: error: {error}; make room or check permissions, then try again", file=sys.stderr)
        return codes.USAGE
    except Exception:  # Python's own 1 would be read as a verdict
        traceback.print_exc()
        print("evenbench: this is a fault of evenbench and no answer; please report it with the lines above", file=sys.stderr)
        return codes.INTERNAL


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
        inspection.show(sections, terminal.console())
    return 0


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
        controls.show(found, terminal.console())
    return 1 if any(each.verdict in (controls.SLIPPED, controls.FAILED) for each in found) else 0


def examine(options: argparse.Namespace) -> int:
    """What the doctor sees."""
    from harness import doctor

    found = doctor.examine()
    if options.json:
        print(json.dumps(found))
    else:
        doctor.show(found, terminal.console())
    return 0


def tune(options: argparse.Namespace) -> int:
    """Trials for every cell that can use them."""
    worker.interrupt_when_ended()
    found = tuning.run(tuning.cells_of(targets.select(options)), options.trials, options.timeout, terminal.console(stderr=True))
    if options.json:
        print(json.dumps(found))
    return 1 if any(result["outcome"] in running.UNWANTED for result in found) else 0


def make(options: argparse.Namespace) -> int:
    """Write a starting file, and say what to do with it."""
    from harness import scaffold

    for line in scaffold.write(options.kind, options.name, Path(options.into)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
