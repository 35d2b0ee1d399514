"""The worker process: does a single job for a single cell and replies with JSON lines.

The parent writes a pickled `Job` and then commands to standard input, and reads replies from a
pipe. Standard output and error go to a log; the log's tail explains a crash. A segfault or an
endless loop ends this process only.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import pickle
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from evenbench import aliases
from evenbench.harness.core import import_strings
from evenbench.harness.core.errors import Unavailable, Unsupported, UsageError
from evenbench.harness.core.session import ProgramEnded
from evenbench.harness.core.types import to_json
from evenbench.harness.runner.child_process import die_with_parent, share_path, take_standard_input
from evenbench.harness.runner.job import LOG_TAIL_BYTES, PHASE_OF, Channel, Job

TASKS: Mapping[str, str] = {
    **{
        name: f"evenbench.harness.measurement.tasks:{name}"
        for name in (
            *("describe", "examine", "inspect", "outlook", "peaks"),
            *("inputs", "calibration", "weights", "prepare", "tune", "golden"),
            *("measure", "profile", "dataset", "score", "expose", "watch"),
        )
    },
    **dict.fromkeys(
        ("video", "record", "look", "frames", "pipeline", "pictures"),
        "evenbench.harness.pipeline.process:perform",
    ),
    "load": "evenbench.harness.load.process:perform",
}
"""The function of each task, by import string: a worker imports only modules of its task."""


def perform(job: Job, channel: Channel) -> dict[str, Any]:
    """Do the job in this process and return the value."""
    value: dict[str, Any] = import_strings.resolve(TASKS[job.task])(job, channel)
    return {**value, "origins": job.origin.check()} if job.origin else value


def reply_to(job: Job, channel: Channel) -> dict[str, Any]:
    """Do the job; returns the fields of a `Reply`, also for an exception."""
    try:
        return {"value": to_json(perform(job, channel))}
    except SystemExit as error:
        phase = channel.phase or PHASE_OF.get(job.task, "prepare")
        reason = (
            f"sys.exit({error.code!r}) was called in {job.task}; "
            "code that evenbench calls must return or raise an error"
        )
        return _failed(error, "failed", phase, reason)
    except Exception as error:
        cause = getattr(error, "error", error)
        phase = getattr(error, "phase", PHASE_OF.get(job.task, "prepare"))
        return _refusal(cause, phase)


REFUSALS: Mapping[type[BaseException], str] = {
    Unsupported: "unsupported",
    Unavailable: "unavailable",
    ModuleNotFoundError: "unavailable",
}
"""Exceptions that refuse a cell with a reason; any other is a failure with a traceback."""


def _refusal(cause: BaseException, phase: str) -> dict[str, Any]:
    outcome = REFUSALS.get(type(cause), "failed")
    hidden = aliases.advice(cause.name or "") if isinstance(cause, ImportError) else ""
    if outcome != "failed" and not hidden:
        return _failed(None, outcome, phase, str(cause))
    reason = f"{type(cause).__name__}: {cause}{hidden and f'; {hidden}'}"
    return _failed(cause, "failed", phase, reason)


def _failed(cause: BaseException | None, outcome: str, phase: str, reason: str) -> dict[str, Any]:
    tail = "".join(traceback.format_exception(cause))[-LOG_TAIL_BYTES:] if cause else ""
    return {
        "value": None,
        "outcome": outcome,
        "phase": phase,
        "reason": reason[:1000],
        "traceback": tail,
        "signal": cause.signal if isinstance(cause, ProgramEnded) else "",
        "error": _class_name(cause) if cause else "",
    }


def _class_name(error: BaseException) -> str:
    return "UsageError" if isinstance(error, UsageError) else type(error).__name__


def main(arguments: list[str] | None = None) -> None:
    """Do the pickled job on standard input: `python -m evenbench.harness.worker --reply FD`."""
    parser = argparse.ArgumentParser(prog="python -m evenbench.harness.worker", description=__doc__)
    parser.add_argument(
        "--reply", type=int, required=True, help="file descriptor to write the reply to"
    )
    reply = parser.parse_args(arguments).reply
    faulthandler.enable()
    die_with_parent()
    commands = take_standard_input()
    share_path(pickle.load(commands))
    job: Job = pickle.load(commands)
    if job.origin:
        job.origin.narrow_path()
    with os.fdopen(reply, "wb") as pipe:
        channel = Channel(pipe, commands)
        channel.tell(reply_to(job, channel))
    sys.stdout.flush()
    os._exit(0)  # a runtime that crashes or hangs in its exit handlers has replied already


if __name__ == "__main__":
    # Under `-m` this file is `__main__`; jobs are pickled as `harness.runner.job.Job`, so run the
    # module under its real name.
    from evenbench.harness.worker import main as named_main

    named_main()
