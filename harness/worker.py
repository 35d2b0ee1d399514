"""A fresh process that does one thing for one cell and answers with one JSON line.

The parent writes a pickled `Job` to standard input and reads the answer from a pipe of its own;
standard output and error go to a log whose tail explains a crash. Whatever happens here, a segfault
or an endless loop included, stays here.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import IO, Any

from harness.core import import_strings
from harness.core.backend import ProgramEnded
from harness.core.errors import Unavailable, Unsupported
from harness.core.types import to_json
from harness.runner.child_process import die_with_parent, share_path
from harness.runner.job import LOG_TAIL_BYTES, PHASE_OF, Job

TASKS: Mapping[str, str] = {
    **{
        name: f"harness.measurement.tasks:{name}"
        for name in (
            *("describe", "examine", "inspect", "outlook", "peaks"),
            *("inputs", "calibration", "weights", "prepare", "tune", "golden"),
            *("measure", "dataset", "score", "expose", "watch"),
        )
    },
    **dict.fromkeys(
        ("video", "record", "look", "frames", "pipeline", "pictures"),
        "harness.pipeline.process:perform",
    ),
    "load": "harness.load.drivers:perform",
}
"""The function of each task, by import string: a worker imports only what its own task needs."""


def perform(job: Job, enter: Callable[[str], None] = lambda phase: None) -> dict[str, Any]:
    """Do the job in this process; `enter` is called with each phase of a measurement as it begins."""
    done: dict[str, Any] = import_strings.resolve(TASKS[job.task])(job, enter)
    return done


def answer(job: Job, enter: Callable[[str], None] = lambda phase: None) -> dict[str, Any]:
    """`perform`, with every exception turned into the fields of a `Reply`."""
    entered = [PHASE_OF.get(job.task, "prepare")]

    def remember(phase: str) -> None:
        entered.append(phase)
        enter(phase)

    try:
        return {"value": to_json(perform(job, remember))}
    except SystemExit as error:
        tail = "".join(traceback.format_exception(error))[-LOG_TAIL_BYTES:]
        reason = f"sys.exit({error.code!r}) was called in {job.task}; code that evenbench calls must return or raise an error"
        return {
            "value": None,
            "outcome": "failed",
            "phase": entered[-1],
            "reason": reason,
            "traceback": tail,
        }
    except Exception as error:
        cause = getattr(error, "error", error)
        phase = getattr(error, "phase", PHASE_OF.get(job.task, "prepare"))
        refusals = {
            Unsupported: "unsupported",
            Unavailable: "unavailable",
            ModuleNotFoundError: "unavailable",
        }
        outcome = refusals.get(type(cause), "failed")
        hidden = import_strings.namesake(cause.name or "") if isinstance(cause, ImportError) else ""
        if hidden:
            outcome = "failed"
        reason = (
            str(cause)
            if outcome != "failed"
            else f"{type(cause).__name__}: {cause}{hidden and f'; {hidden}'}"
        )
        tail = (
            "".join(traceback.format_exception(cause))[-LOG_TAIL_BYTES:]
            if outcome == "failed"
            else ""
        )
        ended = cause.signal if isinstance(cause, ProgramEnded) else ""
        return {
            "value": None,
            "outcome": outcome,
            "phase": phase,
            "reason": reason[:1000],
            "traceback": tail,
            "signal": ended,
        }


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _tell(pipe: IO[bytes], phase: str) -> None:
    pipe.write(_line({"phase": phase}))
    pipe.flush()


def main(arguments: list[str] | None = None) -> None:
    """The worker's own entry: `python -m harness.worker --reply FD`, a pickled Job on standard
    input.
    """
    parser = argparse.ArgumentParser(prog="python -m harness.worker", description=__doc__)
    parser.add_argument(
        "--reply", type=int, required=True, help="file descriptor to write the answer to"
    )
    reply = parser.parse_args(arguments).reply
    faulthandler.enable()
    die_with_parent()
    share_path(pickle.load(sys.stdin.buffer))
    job: Job = pickle.load(sys.stdin.buffer)
    with os.fdopen(reply, "wb") as pipe:
        pipe.write(_line(answer(job, lambda phase: _tell(pipe, phase))))
    sys.stdout.flush()
    os._exit(0)  # a runtime that crashes or hangs in its exit handlers has already given its answer


if __name__ == "__main__":
    # Under `-m` this file is `__main__`; jobs are pickled as `harness.runner.job.Job`, so run the
    # module of that name.
    from harness.worker import main as named_main

    named_main()
